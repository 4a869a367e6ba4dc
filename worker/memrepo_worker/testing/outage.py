"""A store that can be taken away and given back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    Pin,
    Store,
    StoredObject,
    StoredRange,
    UnavailableError,
    Version,
    When,
)


class StoreWithOutages(StoreDecorator):
    """Fails every request while it is ``away``; nothing is done then."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.away = False

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        self._require()
        return super().get(key, bytes_max)

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object."""
        self._require()
        return super().get_range(key, start, bytes_max, pin)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        self._require()
        return super().put(key, data, when)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object from its parts if the condition holds."""
        self._require()
        return super().put_stream(key, parts, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects."""
        self._require()
        for item in self._store.list(prefix, start_after):
            yield item
            self._require()  # before the next page is asked for

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder."""
        self._require()
        return super().folders(prefix, after, names_max)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        self._require()
        super().delete(keys)

    def _require(self) -> None:
        if self.away:
            raise UnavailableError(f"{self.name}: a test has taken it away")
