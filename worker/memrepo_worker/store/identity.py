"""A store's identity: a random id that lies in the store itself.

An address does not say which store is meant: a folder may be another one (a volume that is not mounted shows an empty
folder at the same place), and one bucket has several names. So each store keeps a small object with an id, made once
by a conditional create and never changed. A store that is answered for by anything without that id is not believed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from memrepo.json_text import read_json
from memrepo_worker.store.interface import (
    ABSENT,
    NotThereError,
    PreconditionFailedError,
    RefusedError,
    Store,
    UnavailableError,
)

IDENTITY_KEY = "_memrepo/identity.json"
"""Where the id lies, below the store's own prefix; no org's id begins with an underscore."""

_FORMAT = 1
_ID_LENGTH_MAX = 64


@runtime_checkable
class Anchored(Protocol):
    """A store that can tell at little cost, with each request, that it is still the place that it was."""

    def anchor(self, key: str) -> None:
        """From now on answer nothing unless the object of this key is as it is now."""
        ...


@dataclass(frozen=True, slots=True)
class IdentityGuard:
    """Tells whether a store is still the one that it was when the worker started."""

    store: Store
    expected: str

    def confirm(self) -> None:
        """Return if the store is the expected one; one request. Asked where an absence is about to decide something.

        Raises:
            UnavailableError: it has no identity or another one, so nothing that it says is believed.
        """
        found = read_identity(self.store)
        if found != self.expected:
            raise UnavailableError(
                f"{self.store.name} is not the store {self.expected} any more: it has "
                f"{f'the identity {found}' if found else 'no identity'}; mount or restore what was there"
            )


def read_identity(store: Store) -> str | None:
    """Return the store's id, or None where it has none yet.

    Raises:
        RefusedError: what lies there is no identity.
        UnavailableError: the store cannot be read.
    """
    try:
        data = store.get(IDENTITY_KEY).data
    except NotThereError:
        return None
    try:
        value = read_json(data)
        found = value["store"] if value["format"] == _FORMAT else None
    except (ValueError, TypeError, LookupError):
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
