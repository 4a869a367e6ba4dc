"""A store that can be taken away and given back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import ListedObject, Store, StoredObject, UnavailableError, Version, When


class StoreWithOutages(StoreDecorator):
    """Fails every request while it is ``away``; nothing is done then."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.away = False

    def get(self, key: str) -> StoredObject:
        """Return the object."""
        self._require()
        return super().get(key)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        self._require()
        return super().put(key, data, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects."""
        self._require()
        return super().list(prefix, start_after)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        self._require()
        super().delete(keys)

    def _require(self) -> None:
        if self.away:
            raise UnavailableError(f"{self.name}: a test has taken it away")
