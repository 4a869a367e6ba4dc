"""Publishing a base or segment that holds content, so that none ever comes back below a delete that was acknowledged.

Joining takes long, and whoever joins may be paused at any moment, while the repository is deleted. So a place is
*reserved* first, by a few random bytes; then the bases are listed; then the reservation is replaced by the content,
and only if it is still the same. A delete writes its base before it lists what it has to remove: so either the list
here shows that base, or the list there shows the reservation (or the content), and removes it.

The bytes of a reservation are fresh for each attempt: on a store whose versions come from the content, equal bytes
that land late would be taken for the reservation that was removed. One's own reservation is never removed here: by then
it may be somebody else's content. It stays until a cleaner comes.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.store.content import Content, is_under, pieces_of, size_of
from memrepo_worker.store.interface import (
    ABSENT,
    NotThereError,
    ObjectTooLargeError,
    PreconditionFailedError,
    Store,
    StoredObject,
    StoreError,
    UnavailableError,
    Version,
    When,
)

RESERVATION_BYTES = 32

_ATTEMPTS_MAX = 4

FreshBytes = Callable[[int], bytes]
"""Returns so many random bytes, other ones each time."""


class Publication(Enum):
    """What became of an accelerator."""

    DONE = "done"
    THERE = "there"
    """Somebody has published one under that key before."""
    SUPERSEDED = "superseded"
    """A newer base stands for it, or the repository was deleted."""


def publish(store: Store, layout: Layout, key: str, content: Content, fresh_bytes: FreshBytes) -> Publication:
    """Publish a base or segment under its key; ``content`` is whole and was verified.

    A reservation that somebody else left there, dead or slow, is replaced by one of our own: then it is he who is too
    late.

    Raises:
        UnavailableError: it is not known what became of it; the content may be there, or may come as long as no delete
            has removed the reservation. Nothing is wrong with either.
        RefusedError: the store will not take it until somebody mends something.
    """
    size = size_of(content)
    if size < CONTENT_BYTES_MIN:
        raise ValueError(f"{size} bytes are no bundle: they would be taken for a reservation")
    reserved = _reserve(store, key, fresh_bytes)
    if reserved is None:
        return Publication.THERE
    if _is_superseded(store, layout, key):
        return Publication.SUPERSEDED
    return _fill(store, key, content, reserved)


def _reserve(store: Store, key: str, fresh_bytes: FreshBytes) -> Version | None:
    """Take the place; return the version of our reservation, or None where content is there already."""
    when: When = ABSENT
    last: StoreError | None = None
    for _ in range(_ATTEMPTS_MAX):
        mine = fresh_bytes(RESERVATION_BYTES)
        try:
            return store.put(key, mine, when)
        except (PreconditionFailedError, UnavailableError) as error:
            last = error
        try:
            found = _found(store, key, CONTENT_BYTES_MIN - 1)
        except ObjectTooLargeError:
            return None
        if found is not None and found.data == mine:
            return found.version
        when = ABSENT if found is None else found.version
    raise UnavailableError(f"{key} could not be reserved in {_ATTEMPTS_MAX} attempts: {last}") from last


def _is_superseded(store: Store, layout: Layout, key: str) -> bool:
    """Whether another base stands for everything up to the last entry of this key: a newer one, or a seal's."""
    last = layout.accelerator_seq(key)
    assert last is not None
    for item in store.list(layout.bases):
        seq = layout.base_seq(item.key)
        if seq is not None and seq >= last and item.key != key and item.size >= CONTENT_BYTES_MIN:
            return True
    return False


def _fill(store: Store, key: str, content: Content, reserved: Version) -> Publication:
    last: StoreError | None = None
    for _ in range(_ATTEMPTS_MAX):
        try:
            store.put_stream(key, pieces_of(content), reserved)
        except (PreconditionFailedError, UnavailableError) as error:
            last = error
        else:
            return Publication.DONE
        try:
            found = _found(store, key, CONTENT_BYTES_MIN - 1)
        except ObjectTooLargeError:
            return Publication.DONE if _is_there(store, key, content) else Publication.THERE
        if found is None:
            return Publication.SUPERSEDED
        if found.version != reserved:
            return Publication.THERE
    raise UnavailableError(f"no certain answer about {key} in {_ATTEMPTS_MAX} attempts: {last}") from last


def _is_there(store: Store, key: str, content: Content) -> bool:
    """Whether what lies under a key is this content."""
    try:
        return is_under(store, key, content)
    except NotThereError:
        return False


def _found(store: Store, key: str, bytes_max: int) -> StoredObject | None:
    try:
        return store.get(key, bytes_max)
    except NotThereError:
        return None
