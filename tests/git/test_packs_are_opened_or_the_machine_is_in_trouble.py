"""What a machine lacks while packs are opened is its trouble: no object is called absent or damaged for it.

libgit2 passes over an index that it cannot open, and never tries it again. How many descriptors are free is set in a
process of its own.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import mkdtemp

import pytest

from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.pack_files import PackFiles, opening_places, remove_others
from memrepo_worker.git.packed import opened
from memrepo_worker.git.packed.directory import ObjectMissingError, PackDirectory
from memrepo_worker.git.packed.mapping import limit_open_packs
from memrepo_worker.git.packs import encode_index, encode_pack
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.support.descriptors import descriptors_left

ITEMS = [GitObject(Kind.BLOB, b"text %d\n" % number) for number in range(9)]
IDS = [object_id(item) for item in ITEMS]
ABSENT = "0" * 40
SPARE_MAX = 12
"""So many descriptors are enough."""


def write_pack(objects: Path, items: list[GitObject]) -> Path:
    pack = encode_pack({object_id(item): item for item in items})
    stem = objects / "pack" / f"pack-{pack.checksum}"
    stem.parent.mkdir(exist_ok=True, parents=True)
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(encode_index(pack))
    return stem.with_suffix(".pack")


def new(objects: Path) -> PackDirectory:
    for first in range(0, 9, 3):
        write_pack(objects, ITEMS[first : first + 3])
    return PackDirectory(objects)


def made_by_git(objects: Path) -> PackDirectory:
    new(objects)
    return PackDirectory(objects, proven=True)


def let_go_of(objects: Path) -> PackDirectory:
    """As after a repack."""
    packs = new(objects)
    assert packs.header(IDS[0])
    packs.remove([])
    return packs


def added_to(objects: Path) -> PackDirectory:
    """With a pack that has the objects of the first as well, so that each of those is found whatever becomes of it."""
    write_pack(objects, ITEMS[:5])
    packs = PackDirectory(objects)
    assert packs.header(IDS[0])
    write_pack(objects, ITEMS)
    packs.refresh()
    return packs


def added_to_what_git_made(objects: Path) -> PackDirectory:
    write_pack(objects, ITEMS[:5])
    packs = PackDirectory(objects, proven=True)
    assert packs.header(IDS[0])
    write_pack(objects, ITEMS)
    packs.refresh()
    return packs


WAYS = {way.__name__: way for way in (new, made_by_git, let_go_of, added_to, added_to_what_git_made)}
LOOKS: dict[str, Callable[[PackDirectory, int], bool]] = {
    "find": lambda packs, number: packs.find(IDS[number]) == ITEMS[number],
    "header": lambda packs, number: packs.header(IDS[number]) == (Kind.BLOB, len(ITEMS[number].data)),
    "ids beginning": lambda packs, number: [*packs.ids_beginning(IDS[number][:12])] == [IDS[number]],
}


def answers(
    packs: PackDirectory,
    look: Callable[[PackDirectory, int], bool],
    numbers: Iterable[int] = range(len(ITEMS)),
) -> list[str]:
    told = []
    for number in numbers:
        try:
            told.append("right" if look(packs, number) else "wrong")
        except OSError as error:
            told.append(errno.errorcode[error.errno or 0])
    return told


def look_with_few(folder: Path, way: str) -> None:
    """Say what is answered with each number of free descriptors, and afterwards."""
    for spare in range(SPARE_MAX + 1):
        for name, look in LOOKS.items():
            packs = WAYS[way](folder / f"{spare} {name}")
            with descriptors_left(spare):
                meanwhile = answers(packs, look)
            after = [*{*answers(packs, look)}, "none" if packs.header(ABSENT) is None else "one"]
            print(spare, name, *sorted({*meanwhile}), "then", *after, sep=",", flush=True)


def look_with_none_but_between(folder: Path, way: str) -> None:
    """Say of each object what is answered while libgit2 finds no descriptor for its pack, and afterwards.

    Each time it has looked there are some: for who looks why it has found nothing.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    whole = PackFiles.fault

    def fault_with_all(files: PackFiles) -> str | None:
        few = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        try:
            return whole(files)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, few)

    pytest.MonkeyPatch().setattr(PackFiles, "fault", fault_with_all)
    limit_open_packs(1)
    for number in range(len(ITEMS)):
        for name, look in LOOKS.items():
            packs = WAYS[way](folder / f"{number} {name}")
            answers(packs, look)
            others = PackDirectory(write_pack(folder / f"{number} {name} others", ITEMS[:1]).parent.parent)
            assert others.find(IDS[0]) == ITEMS[0]  # for this one libgit2 has closed the packs
            with descriptors_left(0):
                meanwhile = answers(packs, look, [number])
            print(number, name, *meanwhile, "then", *answers(packs, look, [number]), sep=",", flush=True)


IN_A_PROCESS = {act.__name__: act for act in (look_with_few, look_with_none_but_between)}


def told_by(act: Callable[[Path, str], None], folder: Path, way: str) -> list[list[str]]:
    """Return the lines that a process says that does this, each parted."""
    said = Processes(Counters()).run(
        [sys.executable, "-m", __name__, act.__name__, str(folder), way],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout_s=100,
    )
    return [line.split(",") for line in said.decode().splitlines()]


@pytest.mark.parametrize("way", WAYS)
def test_with_few_descriptors_each_answer_is_right_or_none_and_right_afterwards(
    tmp_path: Path, way: str
) -> None:
    told = told_by(look_with_few, tmp_path, way)

    assert len(told) == len(LOOKS) * (SPARE_MAX + 1)
    for spare, look, *meanwhile, then, after, absent in told:
        assert {*meanwhile} <= {"right", "EMFILE", "EAGAIN"}, (spare, look)
        assert (then, after, absent) == ("then", "right", "none"), (spare, look)
    assert all("EMFILE" in line for line in told if line[0] == "0")
    assert all(line[2:4] == ["right", "then"] for line in told if line[0] == str(SPARE_MAX))


@pytest.mark.parametrize("way", WAYS)
def test_with_none_whenever_libgit2_looks_and_some_between_nothing_is_called_absent_or_damaged(
    tmp_path: Path, way: str
) -> None:
    told = told_by(look_with_none_but_between, tmp_path, way)

    assert len(told) == len(LOOKS) * len(ITEMS)
    for number, look, meanwhile, then, after in told:
        assert meanwhile in {"right", "EMFILE", "EAGAIN"}, (number, look)
        assert (then, after) == ("then", "right"), (number, look)
    assert any("right" not in line[2:3] for line in told), "there was a descriptor for each"


def refuse_links(monkeypatch: pytest.MonkeyPatch, below: Path, number: int) -> None:
    """Have a disk take no folder any more in which packs are opened."""

    def refuse(prefix: str, dir: Path) -> str:  # noqa: A002 - as it is called
        if dir == below:
            raise OSError(number, os.strerror(number))
        return mkdtemp(prefix=prefix, dir=dir)

    monkeypatch.setattr(opened, "mkdtemp", refuse)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_no_links_is_read(
    tmp_path: Path, way: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = WAYS[way](tmp_path)
    refuse_links(monkeypatch, tmp_path, number)

    for look in LOOKS.values():
        assert {*answers(packs, look)} == {"right"}
    assert packs.header(ABSENT) is None


def test_links_in_memory_go_with_whoever_reads_by_them_and_with_the_next_who_loads_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr("memrepo_worker.git.pack_files.IN_MEMORY", memory)
    objects = tmp_path / "objects"
    packs = new(objects)
    _, (_, prefix) = opening_places(objects)
    left_over, anothers = memory / f"{prefix}left", memory / "memrepo-of-another"
    left_over.mkdir()
    anothers.mkdir()

    refuse_links(monkeypatch, objects, errno.ENOSPC)
    assert packs.find(IDS[0]) == ITEMS[0]
    assert len([*memory.iterdir()]) == 3
    del packs
    assert {*memory.iterdir()} == {left_over, anothers}

    remove_others(objects, [pack.stem for pack in objects.glob("pack/*")])
    assert [*memory.iterdir()] == [anothers]


@pytest.mark.parametrize("way", ["new", "made_by_git", "let_go_of"])
def test_a_pack_that_is_gone_is_damage(tmp_path: Path, way: str) -> None:
    packs = WAYS[way](tmp_path)
    min(tmp_path.glob("pack/*.pack")).unlink()

    for look in LOOKS.values():
        with pytest.raises(ObjectMissingError):
            answers(packs, look)


@pytest.mark.parametrize("place", [4, -1])
def test_a_pack_that_was_proven_and_is_damaged_when_it_is_opened_again_is_damage(
    tmp_path: Path, place: int
) -> None:
    packs = let_go_of(tmp_path)
    pack = min(tmp_path.glob("pack/*.pack"))
    found, data = pack.stat(), bytearray(pack.read_bytes())
    data[place] ^= 1
    pack.write_bytes(data)
    os.utime(pack, ns=(found.st_atime_ns, found.st_mtime_ns))

    for look in LOOKS.values():
        with pytest.raises(ObjectMissingError, match="is not as it was written"):
            answers(packs, look)


@pytest.mark.parametrize("way", WAYS)
def test_a_system_without_files_in_memory_reads_all_the_same(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    packs = WAYS[way](tmp_path)

    for look in LOOKS.values():
        assert {*answers(packs, look)} == {"right"}


if __name__ == "__main__":
    IN_A_PROCESS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
