"""An index on disk that changes while a worker runs changes no answer, and does not end the worker.

libgit2 believes an index once it has opened it: of a place that is none it read where nothing was, and the process
ended. So each bit is flipped below a process of its own, whose end is a failure.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.pack_files import FANOUT_BEGIN, FANOUT_END, PackIndex
from memrepo_worker.git.packed.directory import ObjectMissingError, PackDirectory
from memrepo_worker.git.packed.large_objects import LARGE_BYTES
from memrepo_worker.git.packs import encode_index, encode_pack
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.support.stock_git import empty_repository, git

RANDOM = Random(26)
OTHERS = [GitObject(Kind.BLOB, RANDOM.randbytes(300 + number)) for number in range(4)]
LARGE = [GitObject(Kind.BLOB, RANDOM.randbytes(LARGE_BYTES)) for _ in range(2)]
STATES = [b"".join(b"%d\n" % (number % 97 + state) for number in range(900)) for state in range(3)]
ABSENT = "0" * 40
REGIONS = ("fan-out", "ids", "places")


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """A folder of objects with two packs: one of deltas, as git makes them, and one of files, two of them large."""
    repo = empty_repository(tmp_path / "repo.git")
    made = [git(repo, "hash-object", "-w", "--stdin", stdin=state).decode().strip() for state in STATES]
    stem = str(repo / "objects/pack/pack")
    git(repo, "pack-objects", "--quiet", stem, stdin="\n".join(made).encode())
    git(repo, "prune-packed", "--quiet")
    pack = encode_pack({object_id(item): item for item in (*OTHERS, *LARGE)})
    for suffix, data in ((".pack", pack.data), (".idx", encode_index(pack))):
        (repo / "objects/pack" / f"pack-{pack.checksum}{suffix}").write_bytes(data)
    return repo / "objects"


def contents(packs: PackDirectory, ids: list[str]) -> list[object]:
    """All that may be asked of each object, and of one that is not there."""
    return [*((packs.find(sha), packs.header(sha)) for sha in ids), packs.find(ABSENT)]


def require_damage_or_right(packs: PackDirectory, sha: str) -> None:
    """An id that is given in part is looked for in the files themselves."""
    try:
        found = [*packs.ids_beginning(sha[:8])]
    except ObjectMissingError:
        return
    assert found == [sha]


def bytes_of(index: bytes, region: str) -> range:
    """Where a region of an index begins and ends."""
    count = int.from_bytes(index[FANOUT_END - 4 : FANOUT_END])
    ids_end = FANOUT_END + 20 * count
    places = ids_end + 4 * count
    return {
        "fan-out": range(FANOUT_BEGIN, FANOUT_END),
        "ids": range(FANOUT_END, ids_end),
        "places": range(places, places + 4 * count),
    }[region]


def bits_of(path: Path, region: str) -> Iterator[tuple[int, int]]:
    for place in bytes_of(path.read_bytes(), region):
        # Of a fan-out table that says 1,024 times about the same, some: each bit of a number, and each eighth number.
        if region != "fan-out" or (place // 4) % 8 == 7:
            yield from ((place, number) for number in range(8))


def flip(path: Path, place: int, number: int) -> None:
    """Flip a bit as a disk does that forgets: in its place, and the file's time stays."""
    found = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1 << number]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def look_through(objects: Path, region: str) -> None:
    """Ask for everything again and again, a bit of an index flipped each time; say which before, for who reads it."""
    ids = [sha for index in objects.glob("pack/*.idx") for sha in PackIndex(index.read_bytes()).ids()]
    packs = PackDirectory(objects)
    before = contents(packs, ids)
    for index in sorted(objects.glob("pack/*.idx")):
        for place, number in bits_of(index, region):
            print(index.name, place, number, flush=True)
            flip(index, place, number)
            assert contents(packs, ids) == before
            require_damage_or_right(packs, ids[place % len(ids)])
            flip(index, place, number)
    for sha in ids:
        assert [*packs.ids_beginning(sha[:8])] == [sha]
    assert not [*packs.ids_beginning(ABSENT[:8])]
    print("all of them")


@pytest.mark.parametrize("region", REGIONS)
def test_whatever_bit_of_it_is_flipped(objects: Path, region: str) -> None:
    said = Processes(Counters()).run(
        [sys.executable, "-m", __name__, str(objects), region],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout_s=100,
    )

    assert said.endswith(b"all of them\n"), said[-100:]


@pytest.mark.parametrize("region", REGIONS)
def test_one_that_changed_before_the_worker_began_is_found_by_its_checksum(
    objects: Path, region: str
) -> None:
    index = min(objects.glob("pack/*.idx"))
    for place, number in [*bits_of(index, region)][::7]:
        flip(index, place, number)
        with pytest.raises(ObjectMissingError, match="index is damaged"):
            PackDirectory(objects).header(ABSENT)
        flip(index, place, number)


if __name__ == "__main__":
    look_through(Path(sys.argv[1]), sys.argv[2])
