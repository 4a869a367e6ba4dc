"""The store interface: what memrepo needs of object storage, and what it may rely on.

A store keeps objects: bytes under a key. Keys are ``/``-separated ASCII text, no part of them empty, and no key is
another one's folder (``a`` and ``a/b``). Everything that makes memrepo safe rests on one primitive, the conditional
create: ``put(key, data, when=ABSENT)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


When = Always | Absent | Version
"""The condition of a put."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's bytes and the version that they are."""

    data: bytes
    version: Version


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One line of a listing; ``size`` is in bytes."""

    key: str
    size: int


class StoreError(Exception):
    """Something a store said. There are four kinds, and callers need no other."""


class NotThereError(StoreError):
    """``get``: no object has that key."""


class PreconditionFailedError(StoreError):
    """``put``: the condition did not hold at some moment after the call began; this call wrote nothing.

    After an earlier attempt of the same put had an unknown outcome, the object that is in the way may be one's
    own: read it back.
    """


class UnavailableError(StoreError):
    """The outcome is unknown, or nothing was done: time-outs, broken connections, 409, 429, 5xx. Try again."""


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
    * Errors are the four above; nothing of the SDK's comes out.
    * A backend does not retry a conditional put by itself: a hidden second attempt would meet the first one's
      object and report a failure that never was.
    """

    @property
    def name(self) -> str:
        """The store's address for people and logs, without secrets."""
        ...

    def get(self, key: str) -> StoredObject:
        """Return the object.

        Raises:
            NotThereError: there is none.
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

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects whose key begins with ``prefix`` and sorts after ``start_after``.

        Those of one folder (equal up to the last ``/``) come in order of their keys' bytes. The order of folders is
        the store's own (a server that keeps a tree puts ``a/b`` before ``a-b``), so ``start_after`` is for going on
        within the folder that ``prefix`` names.

        Raises:
            UnavailableError: before the first object or after any; what was yielded is true, but not all.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; those that are not there are no error. Not atomic across keys."""
        ...
