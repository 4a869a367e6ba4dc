"""What changed in a memory, as its journal has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import overload

from typing_extensions import override

from memrepo.models.base import ResultModel


class Change(ResultModel):
    """A branch or tag that began, moved or ended with one entry of the journal, whose number is ``seq``.

    ``ref`` is its full name, ``old`` and ``new`` the commits that it was and is at, None for not being there.
    ``commits`` came to it, the oldest first (of very many the newest 1,000), by the requests ``request_ids``. ``at`` is
    when the last of these was enqueued. A memory that was deleted is one change, of ``HEAD``, from the last commit of
    ``main`` to None; what was before it is not told any more.

    Who has dealt with a change goes on after ``resume_after``, in any process: where an entry has several changes, all
    of them come again until the last was dealt with.
    """

    seq: int
    ref: str
    old: str | None
    new: str | None
    commits: list[str]
    request_ids: list[str]
    at: datetime
    resume_after: int


class ChangeFeed(ResultModel, Sequence[Change]):
    """Some changes, in order: a sequence. ``seq`` is the last entry that was looked at: go on after it.

    ``newest`` is the newest entry that there was. Where ``seq`` is less, there is more now.
    """

    changes: list[Change]
    seq: int
    newest: int

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | Sequence[Change]:
        return self.changes[index]

    @override
    def __iter__(self) -> Iterator[Change]:  # type: ignore[override]  # a sequence iterates over its items
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)
