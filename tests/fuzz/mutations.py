"""Changes that make of what is sound what nobody would write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random

KINDS = ("flip", "cut", "repeat", "insert", "drop", "number", "join")
_INPUT_BYTES_MAX = 1 << 16


@dataclass(frozen=True)
class Change:
    """One change: ``place`` is where, as a part of the whole; ``length`` is of how many bytes."""

    kind: str
    place: float
    length: int
    data: bytes


def changed(data: bytes, changes: Iterable[Change]) -> bytes:
    """Return the bytes after the changes, one after the other."""
    for change in changes:
        at = int(change.place * (len(data) + 1))
        data = _CHANGES[change.kind](data, at, change)[:_INPUT_BYTES_MAX]
    return data


def _flip(data: bytes, at: int, change: Change) -> bytes:
    length = min(len(change.data), max(0, len(data) - at))
    flipped = bytes(old ^ new for old, new in zip(data[at : at + length], change.data, strict=False))
    return data[:at] + flipped + data[at + length :]


def _repeat(data: bytes, at: int, change: Change) -> bytes:
    """Write a stretch many times over, as depth and length are attacked."""
    stretch = data[at : at + change.length] or change.data
    return data[:at] + stretch * (change.data[0] * change.data[-1] + 1) + data[at:]


def _number(data: bytes, at: int, change: Change) -> bytes:
    """Put a number in place of others, as sizes and counts are attacked."""
    number = (b"\xff" * 8, b"\0" * 8, b"-1", b"9" * 20, b"1e999", b"9" * 5000, b"9" * 400, b"NaN", b"true")[
        change.length % 9
    ]
    return data[:at] + number + data[at + len(number) :]


_CHANGES: Mapping[str, Callable[[bytes, int, Change], bytes]] = {
    "flip": _flip,
    "cut": lambda data, at, change: data[:at],
    "repeat": _repeat,
    "insert": lambda data, at, change: data[:at] + change.data + data[at:],
    "drop": lambda data, at, change: data[:at] + data[at + change.length :],
    "number": _number,
    "join": lambda data, at, change: data[:at] + data,
}


def some_changes(random: Random) -> list[Change]:
    """Return one to eight changes."""
    return [
        Change(
            random.choice(KINDS),
            random.random(),
            random.choice((1, 2, 4, 8, 64, 512)),
            random.randbytes(random.choice((1, 1, 2, 4, 16))),
        )
        for _ in range(random.randrange(1, 9))
    ]
