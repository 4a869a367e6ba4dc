"""What a bucket with versioning keeps of objects that were replaced or removed.

memrepo reads none of it. Only what has to be gone for good is looked for here and removed, by ``upkeep.purging``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    NotThereError,
    ObjectTooLargeError,
    Store,
    StoreError,
)
from memrepo_worker.store.probe import PREFIX


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """One version of one object, as a bucket lists it.

    ``mark`` is S3's version id or GCS' generation. ``is_removal``: it has no bytes, and says that the object was
    removed (S3's delete marker; GCS has none). ``is_current``: it is what a get answers, or hides that there was more.
    """

    key: str
    mark: str
    size: int
    written_at_s: float
    is_current: bool
    is_removal: bool = False


@runtime_checkable
class Versioned(Protocol):
    """A store that may keep versions; errors are those of ``store.interface``."""

    def keeps_versions(self) -> bool:
        """Whether the bucket has versioning now."""
        ...

    def versions(self, prefix: str) -> Iterator[KeptVersion]:
        """Yield all versions of the objects whose key begins with ``prefix``, the current ones too, in any order."""
        ...

    def delete_versions(self, versions: Iterable[KeptVersion]) -> None:
        """Remove these versions for good; those that are not there are no error. What is not current changes no get."""
        ...


def fault_of_version_deletes(store: Store, versioned: Versioned, new_id: Callable[[], str]) -> str | None:
    """Try out, on an object of its own, whether a version can be removed beside the current one; say what is wrong.

    A server that lists versions, but takes the removal of one for that of the object, would free the keys of markers,
    which nothing may: see docs/format.md.

    Raises:
        UnavailableError, RefusedError: it could not be tried out; the message names a right that is missing.
    """
    key = f"{PREFIX}{new_id()}-version"
    try:
        store.put(key, b"first", ABSENT)
        store.put(key, b"second", ALWAYS)
        first = [version for version in versioned.versions(key) if not version.is_current]
        if not first:
            return None  # no versions are made any more, of which those that are listed are what is left
        versioned.delete_versions(first)
        if _is_lost(store, key):
            return "the removal of one version removes the object"
        left = [version for version in versioned.versions(key) if not version.is_current]
        return "a version that was removed is there still" if left else None
    finally:
        with suppress(StoreError):
            store.delete([key])
            versioned.delete_versions([*versioned.versions(key)])


def _is_lost(store: Store, key: str) -> bool:
    try:
        return store.get(key, len(b"second")).data != b"second"
    except (NotThereError, ObjectTooLargeError):
        return True
