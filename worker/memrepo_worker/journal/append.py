"""Appending to a journal: one conditional create, and what to make of its answer.

There is no lock. Of all writers that believe an entry's number to be theirs, the store lets one win; the others
read what won and go on from there.
"""

from __future__ import annotations

from enum import Enum

from memrepo_worker.store.content import Content, is_under, pieces_of
from memrepo_worker.store.interface import (
    ABSENT,
    NotThereError,
    ObjectTooLargeError,
    PreconditionFailedError,
    Store,
    StoreError,
    UnavailableError,
)

# How often an uncertain create is tried before the caller is asked to come again later.
_ATTEMPTS_MAX = 4


class Append(Enum):
    """What became of a create."""

    DONE = "done"
    LOST = "lost"


def append(store: Store, key: str, data: Content) -> Append:
    """Create an entry, and settle the outcome when the answer was lost.

    ``DONE``: the object under that key is ``data``, for good. ``LOST``: another writer's entry is there; apply it, and
    try the next number. An unknown answer is settled by reading the number back: equal bytes mean done, others lost,
    and where nothing is there the same bytes are put again at the same number (a late first put then meets itself).

    Raises:
        UnavailableError: the store could not be asked. A create may be in flight: call again with the same bytes, or
            look at the number, before anything is told to anybody.
        RefusedError: the store will not take it until somebody mends something.
    """
    last: StoreError | None = None
    for _ in range(_ATTEMPTS_MAX):
        try:
            _put(store, key, data)
        except (PreconditionFailedError, UnavailableError) as error:
            last = error
            # What is in the way may be our own earlier attempt: only the bytes tell.
            settled = _read_back(store, key, data)
            if settled is not None:
                return settled
        else:
            return Append.DONE
    raise UnavailableError(f"no certain answer about {key} in {_ATTEMPTS_MAX} attempts: {last}") from last


def _put(store: Store, key: str, data: Content) -> None:
    if isinstance(data, bytes):
        store.put(key, data, ABSENT)
    else:
        store.put_stream(key, pieces_of(data), ABSENT)


def _read_back(store: Store, key: str, data: Content) -> Append | None:
    """Say whose entry is under the key; None: nobody's."""
    try:
        return Append.DONE if _is_under(store, key, data) else Append.LOST
    except NotThereError:
        return None


def _is_under(store: Store, key: str, data: Content) -> bool:
    if not isinstance(data, bytes):
        return is_under(store, key, data)
    try:
        return store.get(key, len(data)).data == data
    except ObjectTooLargeError:
        return False
