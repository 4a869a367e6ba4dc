"""A store that hands everything on: what decorators begin from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from memrepo_worker.store.interface import ListedObject, Store, StoredObject, Version, When


class StoreDecorator:
    """Hands every request to the store below; a decorator overrides what it is about."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def name(self) -> str:
        """The address of the store below."""
        return self._store.name

    def get(self, key: str) -> StoredObject:
        """Return the object."""
        return self._store.get(key)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        return self._store.put(key, data, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects."""
        return self._store.list(prefix, start_after)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        self._store.delete(keys)
