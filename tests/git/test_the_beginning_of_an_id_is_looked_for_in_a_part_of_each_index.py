"""The beginning of an id is looked for in the part of each index that has its first byte: the whole is read once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memrepo.limits import KIB
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.pack_files import FANOUT_END, PackFiles, PackIndex
from memrepo_worker.git.packed.directory import ObjectMissingError, PackDirectory
from memrepo_worker.git.packs import encode_index, encode_pack

PACKS, OBJECTS = 3, 2000


def write_pack(objects: Path, number: int) -> list[str]:
    """Write a pack of some files; return their ids."""
    items = [GitObject(Kind.BLOB, b"%d %d" % (number, file)) for file in range(OBJECTS)]
    pack = encode_pack({object_id(item): item for item in items})
    stem = objects / "pack" / f"pack-{pack.checksum}"
    stem.parent.mkdir(exist_ok=True)
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(encode_index(pack))
    return sorted(map(object_id, items))


@pytest.fixture
def read_whole(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The packs whose index was read whole, each time."""
    read: list[str] = []
    index = PackFiles.index

    def noted(files: PackFiles, name: str) -> PackIndex:
        read.append(name)
        return index(files, name)

    monkeypatch.setattr(PackFiles, "index", noted)
    return read


def test_an_index_is_read_whole_once(tmp_path: Path, read_whole: list[str]) -> None:
    ids = sorted(sha for number in range(PACKS) for sha in write_pack(tmp_path, number))
    packs = PackDirectory(tmp_path)
    assert packs.header(ids[0])
    before = packs.memory_bytes
    assert [*packs.ids_beginning(ids[0])] == [ids[0]]
    read_whole.clear()

    for first in range(256):
        digits = f"{first:02x}"
        assert [*packs.ids_beginning(digits)] == [sha for sha in ids if sha.startswith(digits)]
    for sha in ids[::97]:
        assert [*packs.ids_beginning(sha[:7])] == [other for other in ids if other.startswith(sha[:7])]

    assert read_whole == []
    assert 0 < packs.memory_bytes - before <= PACKS * 5 * KIB


def test_packs_that_came_since_are_looked_through_and_those_that_went_are_not(
    tmp_path: Path, read_whole: list[str]
) -> None:
    old = write_pack(tmp_path, 0)
    packs = PackDirectory(tmp_path)
    assert [*packs.ids_beginning(old[0][:8])] == [old[0]]
    (first,) = packs.files
    new = write_pack(tmp_path, 1)
    packs.refresh()
    assert [*packs.ids_beginning(new[0][:8])] == [new[0]]

    packs.replace([first])
    packs.remove([first])

    assert [*packs.ids_beginning(old[0][:8])] == []
    assert [*packs.ids_beginning(new[0][:8])] == [new[0]]
    assert read_whole.count(first) == 2, "to be opened, and once for this"


def test_a_part_that_is_not_what_it_was_is_damage_and_other_parts_are_told(tmp_path: Path) -> None:
    ids = write_pack(tmp_path, 0)
    packs = PackDirectory(tmp_path)
    assert [*packs.ids_beginning(ids[0][:8])] == [ids[0]]
    (index,) = (tmp_path / "pack").glob("*.idx")
    found = index.stat()
    with index.open("r+b") as file:
        file.seek(FANOUT_END + 19)
        file.write(bytes([int(ids[0][-2:], 16) ^ 1]))
    os.utime(index, ns=(found.st_atime_ns, found.st_mtime_ns))

    with pytest.raises(ObjectMissingError, match="damaged"):
        [*packs.ids_beginning(ids[0][:8])]
    assert [*packs.ids_beginning(ids[-1][:8])] == [ids[-1]]
