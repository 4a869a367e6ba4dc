"""A store that lets something happen at an exact moment of somebody's put: before it, or between it and its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    Absent,
    Store,
    UnavailableError,
    Version,
    When,
)

Action = Callable[[], object]


class HookedStore(StoreDecorator):
    """Runs each hook once, at the next put of a journal entry."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.before_put: Action | None = None
        self.after_put: Action | None = None
        self.deleted: list[str] = []

    def put(self, key: str, data: bytes, when: When) -> Version:
        if "/journal/" in key and data:
            before, self.before_put = self.before_put, None
            if before:
                before()
        version = self._store.put(key, data, when)
        if "/journal/" in key and data:
            after, self.after_put = self.after_put, None
            if after:
                after()
        return version

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        return self.put(key, b"".join(parts), when)

    def delete(self, keys: Iterable[str]) -> None:
        wanted = list(keys)
        self.deleted += wanted
        self._store.delete(wanted)


def answer_lost() -> None:
    """Lose the answer of a put that was applied."""
    raise UnavailableError("answer lost")
