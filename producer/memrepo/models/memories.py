"""Which memories an org has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from typing_extensions import override

from memrepo.models.base import ResultModel


class MemoryInfo(ResultModel):
    """A memory that is there, by its ids."""

    org_id: str
    agent_id: str


class MemoryPage(ResultModel, Sequence[MemoryInfo]):
    """Some memories of an org, in the order of its store: a sequence.

    Ask on with ``after=page.next_after``, also where a page has none: of so many agents all had been deleted. With
    ``next_after`` None there are no others.
    """

    memories: list[MemoryInfo]
    next_after: str | None

    @overload
    def __getitem__(self, index: int) -> MemoryInfo: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[MemoryInfo]: ...
    def __getitem__(self, index: int | slice) -> MemoryInfo | Sequence[MemoryInfo]:
        return self.memories[index]

    @override
    def __iter__(self) -> Iterator[MemoryInfo]:  # type: ignore[override]  # a sequence iterates over its items
        return iter(self.memories)

    def __len__(self) -> int:
        return len(self.memories)
