"""A store that lets something happen at an exact moment of somebody's put: before it, or between it and its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from memrepo_worker.store.interface import ListedObject, Store, StoredObject, UnavailableError, Version, When

Action = Callable[[], object]


class HookedStore:
    """Runs each hook once, at the next put of a journal entry."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.before_put: Action | None = None
        self.after_put: Action | None = None
        self.deleted: list[str] = []

    @property
    def name(self) -> str:
        return self._store.name

    def get(self, key: str) -> StoredObject:
        return self._store.get(key)

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

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        return self._store.list(prefix, start_after)

    def delete(self, keys: Iterable[str]) -> None:
        wanted = list(keys)
        self.deleted += wanted
        self._store.delete(wanted)


def answer_lost() -> None:
    """Lose the answer of a put that was applied."""
    raise UnavailableError("answer lost")
