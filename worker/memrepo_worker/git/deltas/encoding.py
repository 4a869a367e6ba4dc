"""From two states of a file to the delta between them (gitformat-pack, "Deltified representation").

Own code: libgit2 makes deltas only of objects that lie in a repository, which those of an entry do not yet. dulwich's
(1.2.21, 1 MB of short lines) is as quick for an edited line where its compiled part is installed (0.8 ms of processor
time; this 0.5), but where lines moved or were shuffled it takes 12.4 s, without once letting go of Python's lock, for a
delta of twice that size (this: 12 and 52 ms). Without its compiled part an edited line takes it 0.7 s, for a delta of
half the file.

What both states begin and end with alike is copied, and so are lines between that the old state has somewhere: an edit
of a line of 1 MB, or an append, costs a millisecond and some hundred bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memrepo.limits import KIB
from memrepo_worker.git.deltas.alike import alike_from, alike_up_to
from memrepo_worker.threads.giving_way import give_way

WHOLE_BYTES_MAX = 4 * KIB
"""What is no larger is always stored whole."""

DEPTH_MAX = 32
"""How many deltas may stand one on the other: reading the last one reads all."""

_COPY_BYTES_MAX = 0xFFFFFF
_INSERT_BYTES_MAX = 127
_LINE_BYTES_MIN = 8  # to copy what is shorter takes as many bytes
# To have the places of all lines of 1 MB takes 15 ms: for what is shorter that is too much.
_LOOKED_FOR_BYTES_MIN = 512
_TABLE_LINES_MAX = 32 * 1024
_LINES_MAX = 128 * 1024
_PIECES_MAX = 4 * 1024
"""With these 8 MB of short lines, shuffled, take 0.13 s of processor time, in slices of it; without, 6.1 s."""


@dataclass(frozen=True, slots=True)
class Delta:
    """How an object follows from another: ``base`` is that one's id."""

    base: str
    data: bytes


def encode_delta(old: bytes, new: bytes) -> bytes | None:
    """Return the delta that makes ``new`` of ``old``, or None where it would be no quarter of that.

    Equal input gives equal bytes.
    """
    if len(new) <= WHOLE_BYTES_MAX or len(old) <= WHOLE_BYTES_MAX:
        return None
    delta = bytearray(_number(len(old)) + _number(len(new)))
    pending = [0, 0]  # what is to be copied next, so that neighbours become one
    for begin, end, source in _pieces(old, new):
        if source is not None and source == sum(pending):
            pending[1] += end - begin
            continue
        delta += _copy(*pending)
        pending = [0, 0]
        if 4 * (len(delta) + (end - begin if source is None else 0)) > len(new):
            return None
        if source is None:
            delta += _insert(new[begin:end])
        else:
            pending = [source, end - begin]
    delta += _copy(*pending)
    return bytes(delta) if 4 * len(delta) <= len(new) else None


def _pieces(old: bytes, new: bytes) -> Iterator[tuple[int, int, int | None]]:
    """Yield the parts of ``new`` in order: begin, end, and where ``old`` has it, None where it has not."""
    head = alike_from(old, new)
    tail = alike_up_to(old, new, len(old), len(new), min(len(old), len(new)) - head)
    if head:
        yield 0, head, 0
    end = len(new) - tail
    if head < end:
        yield from _middle(old, new, head, end)
    if tail:
        yield end, len(new), len(old) - tail


def _middle(old: bytes, new: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield the parts of ``new[begin:end]``, by lines that ``old`` has, too; from a bound on the rest is one part."""
    places = _lines(old) if end - begin > _LOOKED_FOR_BYTES_MIN and b"\n" in new[begin:end] else {}
    position = unknown = begin
    pieces = lines = missing = 0
    while position < end and pieces < _PIECES_MAX and lines < _LINES_MAX and 4 * missing <= len(new):
        lines += 1
        give_way()
        stop = new.find(b"\n", position, end) + 1 or end
        source = places.get(new[position:stop])
        if source is None:
            missing += stop - position
            position = stop
            continue
        back = alike_up_to(old, new, source, position, min(source, position - unknown))
        if unknown < position - back:
            yield unknown, position - back, None
        unknown = min(end, position + alike_from(old, new, source, position))
        yield position - back, unknown, source - back
        position = unknown
        pieces += 1
    if unknown < end:
        yield unknown, end, None


def _lines(old: bytes) -> dict[bytes, int]:
    """Return where lines begin: each one's first place; of very many, some that lie evenly apart."""
    places: dict[bytes, int] = {}
    apart = len(old) // _TABLE_LINES_MAX
    position = 0
    while position < len(old):
        give_way()
        end = old.find(b"\n", position) + 1 or len(old)
        if end - position >= _LINE_BYTES_MIN:
            places.setdefault(old[position:end], position)
        position = end if end - position >= apart else old.find(b"\n", position + apart) + 1 or len(old)
    return places


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _copy(offset: int, size: int) -> bytes:
    encoded = bytearray()
    while size:
        part = min(size, _COPY_BYTES_MAX)
        command, arguments = 0x80, bytearray()
        for bit, byte in enumerate([*offset.to_bytes(4, "little"), *part.to_bytes(3, "little")]):
            if byte:
                command |= 1 << bit
                arguments.append(byte)
        encoded.append(command)
        encoded += arguments
        offset, size = offset + part, size - part
    return bytes(encoded)


def _insert(data: bytes) -> bytes:
    parts = (data[at : at + _INSERT_BYTES_MAX] for at in range(0, len(data), _INSERT_BYTES_MAX))
    return b"".join(bytes([len(part)]) + part for part in parts)
