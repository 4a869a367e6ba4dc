"""The store interface: what memrepo needs of object storage, and what it may rely on.

A store keeps objects: bytes under a key. Keys are ``/``-separated ASCII text, no part of them empty, and no key is
another one's folder (``a`` and ``a/b``). Everything that makes memrepo safe rests on one primitive, the conditional
create: ``put(key, data, when=ABSENT)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Always(Enum):
    """Put whatever is there."""

    ALWAYS = "always"


class Absent(Enum):
    """Put only if nothing is there."""

    ABSENT = "absent"


ALWAYS = Always.ALWAYS
ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Version:
    """A store's own mark of one state of one object; compared for equality only."""

    mark: str


GET_BYTES_MAX = 1 << 30
"""What is read at most where nobody says less."""

When = Always | Absent | Version
"""The condition of a put."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's bytes and the version that they are."""

    data: bytes
    version: Version


@dataclass(frozen=True, slots=True)
class Pin:
    """A store's own mark of one state of one object, by which the next range of it is asked for.

    It is no ``Version``: a store may know a state again without knowing its version.
    """

    mark: str


@dataclass(frozen=True, slots=True)
class StoredRange:
    """Some bytes of an object, how many it has in all, and which state of it that is."""

    data: bytes
    size: int
    pin: Pin


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One line of a listing; ``size`` is in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class FolderPage:
    """Some folders of a folder, by name; ``has_more`` says whether others come after them."""

    names: Sequence[str]
    has_more: bool


class StoreError(Exception):
    """Something a store said. There are five kinds, and callers need no other."""


class NotThereError(StoreError):
    """``get``: no object has that key. ``get_range``: or it is not in the state any more that was asked for."""


class PlaceTakenError(NotThereError):
    """No object has that key, and none can be created: in a folder store a folder is in its place."""


class ObjectTooLargeError(StoreError):
    """``get``: the object has more bytes than were asked for at most; none of them was read into memory."""

    def __init__(self, key: str, bytes_max: int, size: int | None = None) -> None:
        found = "more" if size is None else f"{size} bytes"
        super().__init__(f"{key} has {found} where {bytes_max} are read at most")
        self.size = size


class PreconditionFailedError(StoreError):
    """A put: the condition did not hold at some moment after the call began; this call wrote nothing.

    After an earlier attempt of the same put had an unknown outcome, the object that is in the way may be one's
    own: read it back.
    """


class UnavailableError(StoreError):
    """The outcome is unknown, or nothing was done: time-outs, broken connections, 409, 429, 5xx. Try again."""


class PlaceBrokenError(UnavailableError):
    """A disk gives an error where this lies (EIO); what lies elsewhere in the store may be sound."""


class RefusedError(StoreError):
    """The store will not do it until somebody mends something: credentials, bucket, quota. The message says which."""


class NotBegunError(RefusedError):
    """There is no store at this address yet, and none was to be begun."""


class Store(Protocol):
    """What a backend owes.

    * ``get``, ``put`` and ``delete`` act on single objects atomically: a reader sees a whole object or none.
    * Strong consistency: what a finished ``put`` or ``delete`` did is what every later ``get`` and ``list`` shows,
      from any process, also after an earlier ``get`` of that key found nothing.
    * Every method may be called from many threads at once.
    * Errors are the five above; nothing of the SDK's comes out.
    * A backend does not retry a conditional put by itself: a hidden second attempt would meet the first one's
      object and report a failure that never was.
    """

    @property
    def name(self) -> str:
        """The store's address for people and logs, without secrets."""
        ...

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object, unless it is larger than ``bytes_max``, which is asked before memory is spent on it.

        Raises:
            NotThereError: there is none.
            ObjectTooLargeError: it has more bytes.
        """
        ...

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return the object's bytes from ``start`` on, ``bytes_max`` of them or as many as there are; never fewer.

        With ``pin``, of that state alone, so that ranges that are read one after another are of one object: see
        ``store.streams``. From its end on an object has no bytes.

        Raises:
            NotThereError: there is none, or it was replaced.
        """
        ...

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds, and return its version.

        ``ABSENT``: of any number of racing calls for one key, exactly one succeeds. A ``Version``: succeeds only if
        the object is still that version. There is no default: a caller says what it relies on. The data is durable
        when the call returns.

        Raises:
            PreconditionFailedError: the condition did not hold; nothing was written by this call.
            UnavailableError: the outcome is unknown: the object may be written now, later, or never.
        """
        ...

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write an object from its parts as ``put`` does, in memory for little more than one of them.

        It is there whole or not at all, and on its condition; nothing is left anywhere where that does not hold, or
        where ``parts`` raises, which comes out as it is. There is none without a condition.

        Raises:
            PreconditionFailedError, UnavailableError: as ``put``.
        """
        ...

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects whose key begins with ``prefix`` and sorts after ``start_after``.

        Those of one folder (equal up to the last ``/``) come in order of their keys' bytes. The order of folders is
        the store's own (a server that keeps a tree puts ``a/b`` before ``a-b``), so ``start_after`` is for going on
        within the folder that ``prefix`` names. An object that was created before its listing began is listed, and none
        of a folder without those of lower keys that were created before it: a growing journal is listed without a gap.

        Raises:
            UnavailableError: before the first object or after any; what was yielded is true, but not all.
        """
        ...

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return which folders there are in the one that ``prefix`` names up to its last ``/``, whatever they hold.

        Of their names, which begin with what follows there in ``prefix``, up to ``names_max`` come after the name
        ``after``, in the store's own order, and at least one if there is any; that takes one request, and no more for
        folders of many objects.

        Raises:
            UnavailableError: as ``list``.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; those that are not there are no error. Not atomic across keys."""
        ...
