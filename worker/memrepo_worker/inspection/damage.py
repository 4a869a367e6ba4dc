"""What is wrong with an object of a journal: its key, and the kind of damage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The kinds of damage; the value is how each is named in output."""

    MISSING = "missing"
    """No object has the number, and later ones are there."""
    NUMBER = "number"
    """The key has a number that none can have."""
    MARKER = "marker"
    """A delete's marker where no delete was."""
    HEADER = "header"
    """The bytes are no bundle of a journal: its header breaks a rule of docs/format.md."""
    CHECKSUM = "checksum"
    """The pack is not what was written: bytes were changed or cut off."""
    PACK = "pack"
    """Git does not take the pack, whose checksum is right."""
    DISCONNECTED = "disconnected"
    """It leads to an object that is neither in it nor before it."""
    LEDGER = "ledger"
    """Its ledger is not there, or has a line that is none."""
    UNEQUAL = "unequal"
    """A base or segment is not what the entries say that it stands for."""
    NEWER = "newer"
    """A newer memrepo wrote it: this one cannot tell whether it is whole."""
    TOO_LARGE = "too-large"
    """It is larger than a worker reads."""
    UNOPENABLE = "unopenable"
    """All of it is whole, and a worker could not open it all the same."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One damaged object; ``detail`` says what was found, in one line."""

    key: str
    kind: Kind
    detail: str

    def __str__(self) -> str:
        return f"{self.key}: {self.kind.value}: {self.detail}"


class DamageFoundError(Exception):
    """An object is damaged."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(str(damage))
        self.damage = damage
