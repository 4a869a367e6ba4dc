"""Packs that stand for far more than they are."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

from memrepo_worker.git.bundles import decode_bundle, encode_bundle
from memrepo_worker.git.objects import (
    MODE_FILE,
    MODE_TREE,
    Commit,
    GitObject,
    Ident,
    Kind,
    TreeEntry,
    encode_commit,
    encode_tree,
    object_id,
)
from memrepo_worker.journal.entry import HEAD_BRANCH, encode_entry

MIB = 1024 * 1024
_COPIED_MAX = 0xFFFFFF  # by one instruction of a delta
_SOMEBODY = Ident("Somebody", "somebody@example.org", 1_700_000_000)


def zeros(count: int, size: int) -> bytes:
    """A pack of so many blobs, each of so many zeros."""
    return _pack([_header(Kind.BLOB.value, size) + zlib.compress(bytes(size), 9)] * count)


def nested_deltas(factors: Iterable[int]) -> bytes:
    """A pack of a blob of 64 KiB, and deltas each of which repeats what the one before it makes, so many times."""
    base = bytes(64 * 1024)
    objects = [_header(Kind.BLOB.value, len(base)) + zlib.compress(base, 9)]
    size = len(base)
    for factor in factors:
        delta = _number(size) + _number(size * factor) + b"".join(_copies(size)) * factor
        objects.append(_header(6, len(delta)) + _distance(len(objects[-1])) + zlib.compress(delta, 9))
        size *= factor
    return _pack(objects)


def bundle(pack: bytes) -> bytes:
    return encode_bundle((), {"refs/heads/main": "1" * 40}, pack)


def entry_of_many_paths(folders: int = 3, names: int = 1000) -> bytes:
    """A first entry: a commit without files, then one with ``names`` to the power of ``folders`` paths, of one file."""
    blob = GitObject(Kind.BLOB, b"x")
    item, mode = blob, MODE_FILE
    objects = {object_id(blob): blob}
    for _ in range(folders):
        entry = TreeEntry(mode, object_id(item))
        item, mode = encode_tree({f"{number:04d}": entry for number in range(names)}), MODE_TREE
        objects[object_id(item)] = item
    parents: tuple[str, ...] = ()
    for tree in (GitObject(Kind.TREE, b""), item):
        commit = encode_commit(Commit(object_id(tree), parents, _SOMEBODY, _SOMEBODY, "a commit\n"))
        parents = (object_id(commit),)
        objects |= {object_id(tree): tree, object_id(commit): commit}
    return encode_entry(objects, {HEAD_BRANCH: parents[0]}, (), ())


def entry_of_many_refs(size_bytes: int) -> bytes:
    """A first entry whose header names so many bytes of branches, all of them at a commit that it has."""
    sound = entry_of_many_paths(1, 1)
    header, pack = sound.split(b"\n\n", 1)
    tip = decode_bundle(sound).refs[HEAD_BRANCH].encode()
    lines = b"".join(b"%s refs/heads/%09d\n" % (tip, number) for number in range(size_bytes // 62))
    return header + b"\n" + lines + b"\n" + pack


def _pack(objects: list[bytes]) -> bytes:
    data = b"PACK" + (2).to_bytes(4) + len(objects).to_bytes(4) + b"".join(objects)
    return data + hashlib.sha1(data).digest()


def _header(kind: int, size: int) -> bytes:
    first, rest = kind << 4 | size & 0x0F, size >> 4
    return bytes([first | 0x80]) + _number(rest) if rest else bytes([first])


def _number(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _distance(value: int) -> bytes:
    made = [value & 0x7F]
    while value := value >> 7:
        value -= 1
        made.append(value & 0x7F | 0x80)
    return bytes(reversed(made))


def _copies(size: int) -> Iterable[bytes]:
    """Copy a whole base, in as many instructions as that takes."""
    for offset in range(0, size, _COPIED_MAX):
        length = min(_COPIED_MAX, size - offset)
        yield b"\xff" + offset.to_bytes(4, "little") + length.to_bytes(3, "little")
