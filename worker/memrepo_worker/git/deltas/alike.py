"""What two contents have in common at their beginnings, and at their ends."""

from __future__ import annotations

from memrepo.limits import KIB

_BLOCK_BYTES_MIN, _BLOCK_BYTES_MAX = 256, 64 * KIB


def alike_from(old: bytes, new: bytes, at_old: int = 0, at_new: int = 0) -> int:
    """Return how many bytes are equal from these places on."""
    most = min(len(old) - at_old, len(new) - at_new)
    if not at_old and not at_new and new.startswith(old):  # nothing is copied for that, as blocks are
        return most
    done, block = 0, _BLOCK_BYTES_MIN
    while done < most:
        size = min(block, most - done)
        one, other = (data[at + done : at + done + size] for data, at in ((old, at_old), (new, at_new)))
        if one != other:
            return done + _first_difference(one, other)
        done += size
        block = min(4 * block, _BLOCK_BYTES_MAX)
    return most


def alike_up_to(old: bytes, new: bytes, old_end: int, new_end: int, most: int) -> int:
    """Return how many bytes are equal before these places, at most so many."""
    done, block = 0, _BLOCK_BYTES_MIN
    while done < most:
        size = min(block, most - done)
        one, other = (data[end - done - size : end - done] for data, end in ((old, old_end), (new, new_end)))
        if one != other:
            return done + _first_difference(one[::-1], other[::-1])
        done += size
        block = min(4 * block, _BLOCK_BYTES_MAX)
    return most


def _first_difference(one: bytes, other: bytes) -> int:
    """Return where two blocks of the same size that differ begin to, by halving."""
    low, high = 0, len(one)
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
