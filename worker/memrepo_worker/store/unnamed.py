"""What lies in a folder store under names that no key has: no object, and told by who tells what is not memrepo's.

A store of another kind has none: whatever lies in a bucket has a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from memrepo_worker.store.interface import ListedObject, Store


@dataclass(frozen=True, slots=True)
class UnnamedFile(ListedObject):
    """A file whose name stands for no part of a key; ``key`` is where it lies, for people. So is a folder, of 0 bytes.

    Its ``key`` ends in ``/`` then, and what is in it is not looked at.
    """


@runtime_checkable
class ListsUnnamed(Protocol):
    """A store in which files may lie that no key leads to; errors are those of ``store.interface``."""

    def list_all(self, prefix: str) -> Iterator[ListedObject]:
        """Yield what ``list`` does, and in the same order an ``UnnamedFile`` for what it passes over."""
        ...


def list_all(store: Store, prefix: str) -> Iterator[ListedObject]:
    """Yield the objects, with the files beside them that no key leads to; raises what ``Store.list`` does."""
    return store.list_all(prefix) if isinstance(store, ListsUnnamed) else store.list(prefix)


def list_unnamed(store: Store, prefix: str) -> Iterator[ListedObject]:
    """Yield the files alone that no key leads to; raises what ``Store.list`` does."""
    if isinstance(store, ListsUnnamed):
        yield from (item for item in store.list_all(prefix) if isinstance(item, UnnamedFile))
