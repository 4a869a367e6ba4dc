"""Words for people, where producer and worker say the same thing."""

from __future__ import annotations

_PLURALS = {"branch": "branches", "entry": "entries"}


def counted(count: int, noun: str, *, by_thousands: bool = False) -> str:
    """Return a number of things in words: ``1 shard``, ``2000 shards``, or ``2,000 shards`` ``by_thousands``."""
    number = f"{count:,}" if by_thousands else str(count)
    return f"{number} {noun if count == 1 else _PLURALS.get(noun, f'{noun}s')}"
