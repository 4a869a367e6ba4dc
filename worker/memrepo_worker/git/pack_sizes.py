"""How much a pack stands for, found without building any of it (gitformat-pack, version 2).

Few bytes can stand for many: zeros compress a thousandfold, and a delta of 20 bytes may copy megabytes. Each object's
header says how long it is, and each delta how long what it makes will be; only what travels is inflated here, in
pieces, and no further than the bounds.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence

from memrepo.limits import MIB
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import HEADER_BYTES, OFFSET_DELTA, REF_DELTA, TRAILER_BYTES, object_count

_ID_BYTES = 20
_NAMING = (Kind.COMMIT.value, Kind.TREE.value, Kind.TAG.value)
_DELTA_HEAD_BYTES = 20
_FED_BYTES_FIRST = 512
_INFLATED_BYTES_MAX = 1 << 20
_SEARCHED_BYTES_MAX = 4096 * MIB


class PackTooLargeError(ValueError):
    """A pack stands for more than it may."""


def check_unpacked(
    pack: bytes | memoryview,
    unpacked_bytes_max: int,
    inflated_bytes_max: int,
    object_bytes_max: int | None = None,
) -> int:
    """Return how many bytes the objects of a pack are, all together.

    ``unpacked_bytes_max`` bounds that, ``object_bytes_max`` each of them; ``inflated_bytes_max`` what decompressing
    alone makes, deltas as they travel.

    Raises:
        PackTooLargeError: it would be more.
        ValueError: it is no pack, or a damaged one.
    """
    count = object_count(pack)
    walk = _Walk(memoryview(pack)[:-TRAILER_BYTES], inflated_bytes_max)
    total = 0
    for _ in range(count):
        size = walk.next_size()
        if object_bytes_max is not None and size > object_bytes_max:
            raise PackTooLargeError(f"one of its objects is more than {object_bytes_max} bytes unpacked")
        total += size
        if total > unpacked_bytes_max:
            raise PackTooLargeError(f"its objects are more than {unpacked_bytes_max} bytes unpacked")
    return total


def holds(pack: bytes | memoryview, sha: str) -> bool | None:
    """Whether a pack that git has taken holds an object; None where it may, as a delta: such are not looked into."""
    return _is_one(pack, lambda walk: None if (found := walk.next_id()) is None else found == sha)


def names(pack: bytes | memoryview, sha: str) -> bool | None:
    """Whether a commit, tree or tag in a pack names an object; None where one may, as a delta."""
    wanted = bytes.fromhex(sha), sha.encode()
    return _is_one(pack, lambda walk: walk.next_has(wanted))


def _is_one(pack: bytes | memoryview, look: Callable[[_Walk], bool | None]) -> bool | None:
    """Whether an object of a pack is what is looked for; None where one may be; False of what is no pack."""
    walk = _Walk(memoryview(pack)[:-TRAILER_BYTES], _SEARCHED_BYTES_MAX)
    try:
        told = {look(walk) for _ in range(object_count(pack))}
    except ValueError:
        return False
    return True if True in told else None if None in told else False


def delta_bases(pack: bytes | memoryview) -> set[str]:
    """Return the ids of what deltas in a pack are made from, where they say that by id (``REF_DELTA``).

    Raises:
        ValueError: it is no pack, or a damaged one.
    """
    walk = _Walk(memoryview(pack)[:-TRAILER_BYTES], _SEARCHED_BYTES_MAX)
    return {base for _ in range(object_count(pack)) if (base := walk.next_base())}


def find_blob(pack: bytes | memoryview, sha: str, bytes_max: int) -> bytes | None:
    """Return a blob that lies whole in a pack, and is no larger; None where there is none.

    Raises:
        ValueError: it is no pack, or a damaged one.
    """
    walk = _Walk(memoryview(pack)[:-TRAILER_BYTES], _SEARCHED_BYTES_MAX)
    for _ in range(object_count(pack)):
        data = walk.next_blob(bytes_max)
        if data is not None and object_id(GitObject(Kind.BLOB, data)) == sha:
            return data
    return None


class _Walk:
    """Goes through a pack, object by object."""

    def __init__(self, pack: memoryview, inflated_bytes_max: int) -> None:
        self._pack = pack
        self._position = HEADER_BYTES
        self._left = inflated_bytes_max

    def next_size(self) -> int:
        """Return the size of the next object, as its header or its delta tells."""
        try:
            kind, size = self._header()
            if kind not in (OFFSET_DELTA, REF_DELTA):
                self._inflate(size, 0)
                return size
            self._pass_base(kind)
            return _result_size(self._inflate(size, _DELTA_HEAD_BYTES))
        except (IndexError, zlib.error) as error:
            raise ValueError(f"a damaged pack: {error}") from error

    def next_id(self) -> str | None:
        """Return the id of the next object; None of a delta."""
        try:
            kind, size = self._header()
            if kind in (OFFSET_DELTA, REF_DELTA):
                self._pass_base(kind)
                self._inflate(size, 0)
                return None
            digest = hashlib.sha1(f"{Kind(kind).word} {size}\0".encode(), usedforsecurity=False)
            self._inflate(size, 0, digest.update)
        except (IndexError, zlib.error) as error:
            raise ValueError(f"a damaged pack: {error}") from error
        return digest.hexdigest()

    def next_has(self, wanted: Sequence[bytes]) -> bool | None:
        """Whether some of these bytes are in the next object, if it is no blob; None of a delta."""
        found, tail = False, b""

        def look(data: bytes) -> None:
            nonlocal found, tail
            data = tail + data  # they may lie across two pieces
            found = found or any(each in data for each in wanted)
            tail = data[-max(map(len, wanted)) :]

        try:
            kind, size = self._header()
            self._pass_base(kind)
            self._inflate(size, 0, look if kind in _NAMING else lambda _: None)
        except (IndexError, zlib.error) as error:
            raise ValueError(f"a damaged pack: {error}") from error
        return None if kind in (OFFSET_DELTA, REF_DELTA) else found

    def next_base(self) -> str:
        """Return the id of what the next object is made from by delta; nothing where that is not said by an id."""
        try:
            kind, size = self._header()
            start = self._position
            self._pass_base(kind)
            base = bytes(self._pack[start : self._position]).hex() if kind == REF_DELTA else ""
            self._inflate(size, 0)
        except (IndexError, zlib.error) as error:
            raise ValueError(f"a damaged pack: {error}") from error
        return base

    def next_blob(self, bytes_max: int) -> bytes | None:
        """Return the next object where it is a blob, whole and not larger than that."""
        try:
            kind, size = self._header()
            self._pass_base(kind)
            wanted = size if kind == Kind.BLOB.value and size <= bytes_max else 0
            data = self._inflate(size, wanted)
        except (IndexError, zlib.error) as error:
            raise ValueError(f"a damaged pack: {error}") from error
        return data if kind == Kind.BLOB.value and len(data) == size else None

    def _byte(self) -> int:
        byte = self._pack[self._position]
        self._position += 1
        return byte

    def _header(self) -> tuple[int, int]:
        byte = self._byte()
        kind, size, shift = byte >> 4 & 7, byte & 0x0F, 4
        while byte & 0x80:
            byte = self._byte()
            size |= (byte & 0x7F) << shift
            shift += 7
        return kind, size

    def _pass_base(self, kind: int) -> None:
        """Pass over what a delta's header says of the object that it was made from; nothing where it is none."""
        if kind == REF_DELTA:
            self._position += _ID_BYTES
        while kind == OFFSET_DELTA and self._byte() & 0x80:
            pass

    def _inflate(self, size: int, wanted: int, take: Callable[[bytes], object] = lambda _: None) -> bytes:
        """Pass over one object's stream of ``size`` bytes, ``take`` gets all, and return its first ``wanted`` bytes."""
        self._left -= size
        if self._left < 0:
            raise PackTooLargeError("decompressing it makes far more bytes than it has")
        head, made = b"", 0
        stream = zlib.decompressobj()
        fed = _FED_BYTES_FIRST
        while not stream.eof:
            piece = self._pack[self._position : self._position + fed]
            if not piece:
                raise IndexError("it ends too early")
            for data in _pieces(stream, piece):
                made += len(data)
                take(data)
                if made > size:
                    raise ValueError("a damaged pack: an object is longer than it says")
                if len(head) < wanted:
                    head += data[: wanted - len(head)]
            self._position += len(piece) - len(stream.unused_data)
            fed *= 2  # small at first: what was fed too much is copied
        return head


def _pieces(stream: zlib._Decompress, data: memoryview) -> Iterator[bytes]:
    """Inflate in pieces, so that little is in memory at once."""
    yield stream.decompress(data, _INFLATED_BYTES_MAX)
    while (
        stream.unconsumed_tail and not stream.eof
    ):  # a tail is left after the end, too, where something follows
        yield stream.decompress(stream.unconsumed_tail, _INFLATED_BYTES_MAX)


def _result_size(head: bytes) -> int:
    """Return what a delta says that it makes: the second of the two numbers that it begins with."""
    position = 0
    while head[position] & 0x80:
        position += 1
    size = shift = 0
    while True:
        position += 1
        size |= (head[position] & 0x7F) << shift
        shift += 7
        if not head[position] & 0x80:
            return size
