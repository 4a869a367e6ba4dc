"""The form in which large requests and results travel beside their message: compressed, and in chunks.

A payload is a JSON value and the file contents that it refers to by number. On the wire it is one zlib stream (RFC
1950) of these bytes, cut into chunks:

    8 bytes    the length of the head, most significant byte first
    head       JSON: {"value": the value, "sizes": [the length of each content]}
    contents   one after the other, as they are

Nothing is held twice: the writer makes chunk after chunk, the reader unpacks into the contents themselves.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from memrepo.json_text import VALUES_MAX, json_pieces, read_json
from memrepo.lazy import lazy_property
from memrepo.limits import KIB, MIB
from memrepo.models import ContentWriter

LARGE_BYTES = 64 * KIB
"""What is larger travels as a payload of its own; what is not, inside the message or the record."""

CHUNK_BYTES_MAX = MIB
_LEVEL = 1  # text shrinks to a third at about 140 MB/s; level 6 is five times slower for a fifth less
_LENGTH_BYTES = 8
_STREAM_HEADER = b"\x78\x01"
_BLOCK_HEADER = struct.Struct("<BHH")
_BLOCK_BYTES_MAX = 0xFFFF


@dataclass(frozen=True)
class Payload:
    """A JSON value, and the contents that ``{"attached": number}`` in it stands for."""

    value: Any
    contents: tuple[bytes, ...] = ()

    @property
    def text(self) -> str:
        """The value as JSON."""
        return b"".join(self._written).decode(errors="surrogatepass")

    @lazy_property
    def _written(self) -> tuple[bytes, ...]:
        """The value as JSON, written once: its size is asked for before it is sent."""
        return tuple(piece.encode(errors="surrogatepass") for piece in json_pieces(self.value))

    @property
    def head(self) -> tuple[bytes, ...]:
        """What is written before the contents, in pieces."""
        sizes = ",".join(str(len(data)) for data in self.contents)
        return b'{"value":', *self._written, f',"sizes":[{sizes}]}}'.encode()

    @property
    def head_bytes(self) -> int:
        """How many bytes are written before the contents."""
        return sum(map(len, self.head))

    @property
    def size_bytes(self) -> int:
        """How many bytes it has before it is compressed."""
        return _LENGTH_BYTES + self.head_bytes + sum(map(len, self.contents))


class PayloadClaim(BaseModel):
    """What a message says of its payload: the number of chunks, and how many bytes they unpack to."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    chunks: PositiveInt
    size_bytes: PositiveInt


class ResultClaim(PayloadClaim):
    """What a record says of its result's payload. It may grow: an older reader passes over what it does not know.

    ``kept_at`` is the address of the result store that has it, as the worker knows it, without a password.
    """

    model_config = ConfigDict(extra="ignore")

    kept_at: str = Field(default="", max_length=1000)


class BrokenPayloadError(ValueError):
    """The chunks are not what was written, or unpack to more than they may."""


class _EndOfStreamError(BrokenPayloadError):
    """All is unpacked."""


def attaching(contents: list[bytes]) -> ContentWriter:
    """Return a writer that collects contents and puts their numbers in their place."""

    def attach(data: bytes) -> dict[str, Any]:
        contents.append(data)
        return {"attached": len(contents) - 1}

    return attach


def encode(payload: Payload, *, compress: bool = True) -> Iterator[bytes]:
    """Yield the chunks of a payload; equal payloads give equal chunks with one build of zlib.

    What is not to be compressed is stored in the same form.
    """
    parts = chain((payload.head_bytes.to_bytes(_LENGTH_BYTES),), payload.head, payload.contents)
    waiting = bytearray()
    for packed in _compressed(_pieces(parts)) if compress else _stored(_pieces(parts)):
        waiting += packed
        yield from _full_chunks(waiting)
    if waiting:
        yield bytes(waiting)


def decode(chunks: Iterable[bytes], size_bytes: int, values_max: int = VALUES_MAX) -> Payload:
    """Rebuild a payload of that many bytes, whose JSON holds no more than so many values.

    Raises:
        BrokenPayloadError: the chunks are no such payload; no more than ``size_bytes`` were unpacked.
        Exception: what fetching a chunk raised, as it is.
    """
    stream = _Stream(chunks, size_bytes)
    head = stream.take(int.from_bytes(stream.take(_LENGTH_BYTES)))
    value, sizes = _read_head(head, values_max)
    payload = Payload(value, tuple(map(stream.take, sizes)))
    stream.end()
    return payload


def _read_head(head: bytes, values_max: int) -> tuple[Any, list[int]]:
    """Return the value and the contents' sizes; apart from fetching chunks, whose failures are told as they are."""
    try:
        fields = read_json(head, values_max)
        return fields["value"], [int(size) for size in fields["sizes"]]
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise BrokenPayloadError(f"no payload: {type(error).__name__}") from error


def _pieces(parts: Iterable[bytes]) -> Iterator[memoryview]:
    """Yield the bytes of all parts in pieces of up to a chunk: hundreds of small ones take several times as long."""
    small: list[bytes] = []
    size = 0
    for part in parts:
        if size + len(part) > CHUNK_BYTES_MAX:
            yield memoryview(b"".join(small))
            small, size = [], 0
        if len(part) > CHUNK_BYTES_MAX:
            for start in range(0, len(part), CHUNK_BYTES_MAX):
                yield memoryview(part)[start : start + CHUNK_BYTES_MAX]
        else:
            small.append(part)
            size += len(part)
    yield memoryview(b"".join(small))


def _compressed(pieces: Iterable[memoryview]) -> Iterator[bytes]:
    packer = zlib.compressobj(_LEVEL)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _stored(pieces: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    """Yield a zlib stream whose blocks are stored as they are (RFC 1951, 3.2.4): zlib's level 0 copies them thrice."""
    checksum = zlib.adler32(b"")
    yield _STREAM_HEADER
    for piece in pieces:
        checksum = zlib.adler32(piece, checksum)
        for start in range(0, len(piece), _BLOCK_BYTES_MAX):
            block = piece[start : start + _BLOCK_BYTES_MAX]
            yield _BLOCK_HEADER.pack(0, len(block), len(block) ^ _BLOCK_BYTES_MAX)
            yield block
    yield _BLOCK_HEADER.pack(1, 0, _BLOCK_BYTES_MAX)  # the last block: nothing
    yield checksum.to_bytes(4)


def _full_chunks(waiting: bytearray) -> Iterator[bytes]:
    while len(waiting) >= CHUNK_BYTES_MAX:
        yield bytes(waiting[:CHUNK_BYTES_MAX])
        del waiting[:CHUNK_BYTES_MAX]


class _Stream:
    """The unpacked bytes, read from the beginning to the end; never more than a piece beyond ``size_bytes``."""

    def __init__(self, chunks: Iterable[bytes], size_bytes: int) -> None:
        self._chunks = iter(chunks)
        self._left = size_bytes
        self._unpacker = zlib.decompressobj()
        self._packed = b""
        self._ready = memoryview(b"")

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        if not 0 <= count <= self._left:
            raise BrokenPayloadError("longer than it says")
        self._left -= count
        parts = []
        while count:
            if not self._ready:
                self._ready = self._unpacked()
            parts.append(self._ready[:count])
            self._ready = self._ready[count:]
            count -= len(parts[-1])
        return b"".join(parts)

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self._left or self._ready:
            raise BrokenPayloadError("shorter or longer than it says")
        with suppress(_EndOfStreamError):
            self._unpacked()
            raise BrokenPayloadError("longer than it says")

    def _unpacked(self) -> memoryview:
        """Return the next piece, which is not empty."""
        while not self._unpacker.eof:
            packed = self._packed or next(self._chunks, b"")
            if not packed:
                raise BrokenPayloadError("it breaks off")
            try:
                data = self._unpacker.decompress(packed, CHUNK_BYTES_MAX)
            except zlib.error as error:
                raise BrokenPayloadError("not compressed as it should be") from error
            self._packed = self._unpacker.unconsumed_tail
            if data:
                return memoryview(data)
        raise _EndOfStreamError("it breaks off")
