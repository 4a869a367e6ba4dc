"""A store's identity: a random id that lies in the store itself.

An address does not say which store is meant: a folder may be another one (a volume that is not mounted shows an empty
folder at the same place), and one bucket has several names. So each store keeps a small object with an id, made once
by a conditional create and never changed. A store that is answered for by anything without that id is not believed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from memrepo.json_text import read_json
from memrepo_worker.store.interface import (
    ABSENT,
    NotThereError,
    ObjectTooLargeError,
    PreconditionFailedError,
    RefusedError,
    Store,
    StoreError,
    UnavailableError,
)
from memrepo_worker.threads.beginning import begin_thread

IDENTITY_KEY = "_memrepo/identity.json"
"""Where the id lies, below the store's own prefix; no org's id begins with an underscore."""

LOOK_EVERY_S = 10.0
"""How often a store in which things are written is looked at."""

_FORMAT = 1
_ID_LENGTH_MAX = 64
_BYTES_MAX = 4096


@runtime_checkable
class Anchored(Protocol):
    """A store that can tell at little cost, with each request, that it is still the place that it was."""

    def anchor(self, key: str) -> None:
        """From now on answer nothing unless the object of this key is as it is now."""
        ...


class AnotherStoreError(UnavailableError):
    """A store is not the one that it was, as far as can be seen: nothing that it says is believed."""


@dataclass(frozen=True, slots=True)
class IdentityGuard:
    """Tells whether a store is still the one that it was when the worker started."""

    store: Store
    expected: str

    def confirm(self) -> None:
        """Return if the store is the expected one; one request. Asked where an absence is about to decide something.

        Raises:
            AnotherStoreError: it has no identity or another one.
            UnavailableError, RefusedError: it cannot be read.
        """
        found = read_identity(self.store)
        if found != self.expected:
            raise AnotherStoreError(
                f"{self.store.name} is not the store {self.expected} any more: it has "
                f"{f'the identity {found}' if found else 'no identity'}; mount or restore what was there"
            )


class IdentityWatch:
    """Looks now and then, while there are writes or openings, whether a store is still the one that it was.

    A write is not preceded by a request of its own for that: where a bucket is exchanged under a running worker, what
    is written within ``every_s`` goes to the other one, and what comes after waits.
    """

    def __init__(self, guard: IdentityGuard, every_s: float = LOOK_EVERY_S) -> None:
        self._guard = guard
        self._every_s = every_s
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._used = False
        self._wrong: UnavailableError | None = None

    def check(self) -> None:
        """Return if the store was the right one when it was last looked at; no request is made.

        Raises:
            UnavailableError: it was another one.
        """
        self._used = True
        if self._thread is None:
            self._start()
        if self._wrong is not None:
            raise UnavailableError(str(self._wrong)) from self._wrong

    def look(self) -> None:
        """Look at the store. One that does not answer says nothing about which it is."""
        try:
            self._guard.confirm()
        except AnotherStoreError as error:
            self._wrong = error
        except StoreError:
            return
        else:
            self._wrong = None

    def close(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = begin_thread("memrepo-identity", self._run)

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            if self._used:
                self._used = False
                self.look()


def read_identity(store: Store) -> str | None:
    """Return the store's id, or None where it has none yet.

    Raises:
        RefusedError: what lies there is no identity.
        UnavailableError: the store cannot be read.
    """
    try:
        value = read_json(store.get(IDENTITY_KEY, _BYTES_MAX).data)
        found = value["store"] if value["format"] == _FORMAT else None
    except NotThereError:
        return None
    except (ObjectTooLargeError, ValueError, TypeError, LookupError):
        found = None
    if not isinstance(found, str) or not found.isalnum() or len(found) > _ID_LENGTH_MAX:
        raise RefusedError(
            f"{store.name}: the object {IDENTITY_KEY} is damaged, or of a newer memrepo; restore it, or remove it and "
            "run `memrepo store accept`"
        )
    return found


def begin_identity(store: Store, new_id: Callable[[], str]) -> str:
    """Return the store's id; one that has none is given one. Of any number that try at once all return the same.

    Raises:
        UnavailableError, RefusedError: it could not be read or written.
    """
    found = read_identity(store)
    if found is not None:
        return found
    data = json.dumps({"format": _FORMAT, "store": new_id()}).encode()
    try:
        store.put(IDENTITY_KEY, data, ABSENT)
    except (PreconditionFailedError, UnavailableError) as error:
        found = read_identity(store)  # a rival's, or our own whose answer was lost
        if found is None:
            raise UnavailableError(f"no certain answer about {IDENTITY_KEY}: {error}") from error
        return found
    found = read_identity(store)
    if found is None:
        raise UnavailableError(f"{store.name} does not show {IDENTITY_KEY}, which was just written")
    return found
