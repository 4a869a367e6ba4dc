"""A store that hands everything on: what decorators begin from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from memrepo_worker.store.interface import (
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    Pin,
    Store,
    StoredObject,
    StoredRange,
    Version,
    When,
)


class StoreDecorator:
    """Hands every request to the store below; a decorator overrides what it is about."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def name(self) -> str:
        """The address of the store below."""
        return self._store.name

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        return self._store.get(key, bytes_max)

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object."""
        return self._store.get_range(key, start, bytes_max, pin)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        return self._store.put(key, data, when)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object from its parts if the condition holds."""
        return self._store.put_stream(key, parts, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects."""
        return self._store.list(prefix, start_after)

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder."""
        return self._store.folders(prefix, after, names_max)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        self._store.delete(keys)
