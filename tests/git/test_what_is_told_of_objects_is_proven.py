"""What kind an object is, and how large, is told from packs of which every byte was proven, and later from memory."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path
from random import Random

import pytest

from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.pack_files import PackFiles, PackIndex
from memrepo_worker.git.packed.directory import ObjectMissingError, PackDirectory
from memrepo_worker.git.packed.headers import HeaderTable
from memrepo_worker.git.packs import Pack, PackedObject, encode_index, encode_pack
from memrepo_worker.git.reader import Reader

RANDOM = Random(12)
ITEMS = [GitObject(Kind.BLOB, RANDOM.randbytes(300 + number)) for number in range(100)]
SIZES = {object_id(item): len(item.data) for item in ITEMS}
ABSENT = "0" * 40


def write_pack(objects: Path, items: list[GitObject]) -> Path:
    pack = encode_pack({object_id(item): item for item in items})
    stem = objects / "pack" / f"pack-{pack.checksum}"
    stem.parent.mkdir(exist_ok=True)
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(encode_index(pack))
    return stem.with_suffix(".pack")


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Flip a bit as a disk does that forgets: in its place, and the file's time stays."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1 << bit]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def told(packs: PackDirectory) -> dict[str, int]:
    return {sha: Reader(packs).size(sha) for sha in SIZES}


def test_what_is_told_is_what_was_written_and_an_object_that_is_not_there_is_none(tmp_path: Path) -> None:
    write_pack(tmp_path, ITEMS[:50])
    write_pack(tmp_path, ITEMS[50:])
    packs = PackDirectory(tmp_path)

    assert told(packs) == SIZES
    assert packs.header(object_id(ITEMS[0])) == (Kind.BLOB, 300)
    assert packs.header(ABSENT) is None


@pytest.mark.parametrize("place", [4, 12, 13, 200, 10_000, -1])
def test_nothing_is_told_from_a_pack_that_is_not_as_it_was_written(tmp_path: Path, place: int) -> None:
    pack = write_pack(tmp_path, ITEMS)
    flip(pack, place, 1)

    with pytest.raises(ObjectMissingError):
        PackDirectory(tmp_path).header(object_id(ITEMS[-1]))
    with pytest.raises(ObjectMissingError):
        PackDirectory(tmp_path).header(ABSENT)


def test_a_pack_that_is_added_is_proven_as_well(tmp_path: Path) -> None:
    write_pack(tmp_path, ITEMS[:50])
    packs = PackDirectory(tmp_path)
    last = object_id(ITEMS[-1])
    assert packs.header(last) is None

    pack = write_pack(tmp_path, ITEMS[50:])
    packs.refresh()
    assert packs.header(last) == (Kind.BLOB, 399)

    damaged = write_pack(tmp_path, ITEMS[:10])
    flip(damaged, 100)
    packs.refresh()
    with pytest.raises(ObjectMissingError, match="not as it was written"):
        packs.header(last)
    assert pack.exists()


def test_what_was_proven_is_told_whatever_becomes_of_the_files(tmp_path: Path) -> None:
    pack = write_pack(tmp_path, ITEMS)
    packs = PackDirectory(tmp_path)
    assert told(packs) == SIZES

    flip(pack, 12, 2)
    flip(pack, 13, 4)

    assert told(packs) == SIZES
    assert packs.header(ABSENT) is None


def test_a_joined_pack_takes_the_place_of_those_that_it_is_of(tmp_path: Path) -> None:
    old = [write_pack(tmp_path, ITEMS[:50]), write_pack(tmp_path, ITEMS[50:])]
    packs = PackDirectory(tmp_path)
    assert told(packs) == SIZES

    write_pack(tmp_path, ITEMS)
    packs.replace([pack.stem for pack in old])
    packs.remove([pack.stem for pack in old])

    assert told(packs) == SIZES
    assert packs.find(object_id(ITEMS[0])) == ITEMS[0]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_joined_pack_that_was_proven_is_believed_where_those_that_it_is_of_were_looked_into(
    tmp_path: Path, is_known: bool
) -> None:
    old = [write_pack(tmp_path, ITEMS[:50]), write_pack(tmp_path, ITEMS[50:])]
    packs = PackDirectory(tmp_path)
    if is_known:
        assert told(packs) == SIZES

    joined = write_pack(tmp_path, ITEMS)
    flip(joined, 12, 2)
    packs.replace([pack.stem for pack in old], joined.stem)

    if is_known:
        assert told(packs) == SIZES
    else:
        with pytest.raises(ObjectMissingError, match="not as it was written"):
            told(packs)


def test_bytes_that_are_another_objects_are_not_given(tmp_path: Path) -> None:
    """As a delta makes them that follows from another base: all that its pack says of it may fit."""
    items = [GitObject(Kind.TREE, item.data) for item in ITEMS[:2]]
    pack = encode_pack({object_id(item): item for item in items})
    first, second = sorted(pack.objects, key=lambda placed: placed.sha)
    index = encode_index(pack)
    offsets = first.offset.to_bytes(4) + second.offset.to_bytes(4)
    body = index[:-20].replace(offsets, offsets[4:] + offsets[:4])
    stem = tmp_path / "pack" / f"pack-{pack.checksum}"
    stem.parent.mkdir()
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(body + hashlib.sha1(body, usedforsecurity=False).digest())

    with pytest.raises(ObjectMissingError, match="not what it was"):
        PackDirectory(tmp_path).find(first.sha)


def test_the_index_of_a_pack_of_gigabytes_says_where_its_objects_begin() -> None:
    offsets = [12, 2**31 - 1, 2**31, 2**33]
    objects = [PackedObject(object_id(item), offset, 0) for item, offset in zip(ITEMS, offsets, strict=False)]

    index = PackIndex(encode_index(Pack(bytes(20), tuple(objects))))

    assert dict(zip(index.ids(), index.offsets(), strict=True)) == {
        placed.sha: placed.offset for placed in objects
    }


@pytest.mark.parametrize("spread", [1, 4096, 1 << 21])
def test_objects_are_looked_at_in_the_order_in_which_they_lie(spread: int) -> None:
    """Also where all but one lie close together: else a look into a large pack maps another part of it each time."""
    places = sorted({RANDOM.randrange(12, 12 + 3000 * spread) for _ in range(3000)} | {1 << 33})
    shas = [hashlib.sha1(b"%d" % place, usedforsecurity=False).hexdigest() for place in places]
    objects = [PackedObject(sha, place, 0) for sha, place in zip(shas, places, strict=True)]

    index = PackIndex(encode_index(Pack(bytes(20), tuple(objects))))

    assert [*index.placed()] == [*zip(shas, places, strict=True)]


def test_a_pack_is_proven_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    pack = write_pack(tmp_path, ITEMS)

    proven = [*PackFiles(tmp_path).proven(pack.stem)]

    assert [(sha, is_delta) for sha, _, is_delta in proven] == [(object_id(item), False) for item in ITEMS]
    index = PackIndex(pack.with_suffix(".idx").read_bytes())
    assert all(index.offset_of(sha) == offset for sha, offset, _ in proven)
    assert index.offset_of(ABSENT) is index.offset_of("f" * 40) is None


def test_a_table_of_many_objects_tells_each_of_them() -> None:
    table = HeaderTable()
    kinds = list(Kind)
    objects = {
        hashlib.sha1(b"%d" % number, usedforsecurity=False).hexdigest(): (
            kinds[number % 4],
            number**3 % 2**40,
        )
        for number in range(20_000)
    }
    for sha, (kind, size) in objects.items():
        table.add(sha, kind.value, size, is_delta=size % 2 == 0)
        table.add(sha, kind.value, size, is_delta=False)

    assert all(table.find(sha) == (kind, size, size % 2 == 0) for sha, (kind, size) in objects.items())
    assert not any(table.find(sha[::-1]) for sha in objects)
    assert 18 <= table.memory_bytes / len(objects) <= 36


def test_a_pack_is_proven_with_room_for_what_is_told_of_its_objects_from_the_start(tmp_path: Path) -> None:
    """So many objects that a table that grows would have grown just before the last of them."""
    items = [GitObject(Kind.BLOB, b"%d" % number) for number in range(22_000)]
    write_pack(tmp_path, items)
    packs = PackDirectory(tmp_path)
    tracemalloc.start()
    try:
        assert packs.header(object_id(items[0])) == (Kind.BLOB, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak / len(items) <= 84, (
        "28 of the index, 36 of the table, 8 of the order in which they lie, and pieces"
    )
