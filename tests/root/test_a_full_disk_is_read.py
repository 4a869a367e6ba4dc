"""A disk on which no file can be made any more, or that is read-only: what lies on it is read all the same."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from memrepo.settings import environment
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packed.directory import PackDirectory
from memrepo_worker.git.packs import encode_index, encode_pack
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.store.backends.local import LocalStore
from tests.support.writers import commit, create, writer

ITEMS = [GitObject(Kind.BLOB, b"text %d\n" % number) for number in range(3)]
INODES = 400


@pytest.fixture(autouse=True)
def as_root() -> None:
    assert os.geteuid() == 0, "make test-root needs root"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that takes so many files and folders."""
    folder = tmp_path / "small"
    folder.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"size=4m,nr_inodes={INODES}", "tmpfs", str(folder)])
    try:
        yield folder
    finally:
        run(["umount", str(folder)])


def run(command: list[str]) -> None:
    Processes(Counters()).run(command, env={"PATH": environment()["PATH"]}, timeout_s=10)


def fill(disk: Path, left: int = 0) -> None:
    """Make files until it takes only so many more."""
    folder = disk / "others"
    folder.mkdir()
    made: list[Path] = []
    for number in count():
        path = folder / str(number)
        try:
            path.touch(exist_ok=False)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            break
        made.append(path)
    for path in made[len(made) - left :]:
        path.unlink()


def write_packs(disk: Path) -> Path:
    """Write a folder of objects with a pack for each item."""
    objects = disk / "objects"
    (objects / "pack").mkdir(parents=True)
    for item in ITEMS:
        pack = encode_pack({object_id(item): item})
        for suffix, data in ((".pack", pack.data), (".idx", encode_index(pack))):
            (objects / "pack" / f"pack-{pack.checksum}{suffix}").write_bytes(data)
    return objects


def require_read(packs: PackDirectory) -> None:
    """Look at each object, and again after the packs were let go of, as after a repack."""
    assert [packs.find(object_id(item)) for item in ITEMS] == ITEMS
    assert packs.find("0" * 40) is None
    packs.remove([])
    ids = [object_id(item) for item in ITEMS]
    assert [[*packs.ids_beginning(sha[:10])] for sha in ids] == [[sha] for sha in ids]


@pytest.mark.parametrize("is_proven", [True, False])
@pytest.mark.parametrize("left", range(10))
def test_packs_are_read_whatever_room_is_left_for_links(disk: Path, left: int, is_proven: bool) -> None:
    objects = write_packs(disk)
    fill(disk, left)

    require_read(PackDirectory(objects, proven=is_proven))


@pytest.mark.parametrize("is_proven", [True, False])
def test_packs_are_read_on_a_disk_that_is_read_only(disk: Path, is_proven: bool) -> None:
    objects = write_packs(disk)
    run(["mount", "-o", "remount,ro", str(disk)])

    require_read(PackDirectory(objects, proven=is_proven))


def test_a_warm_copy_is_opened_and_stays(disk: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    with writer(store, disk / "cache") as one:
        one.ask(create(first="1"))
        one.ask(commit("second"))
        known = one.texts()
        one.warm().save()

    with writer(store, disk / "cache") as again:
        fill(disk)
        assert again.texts() == known
        counted = again.counters.snapshot()

    assert counted["cache.found"] == 1
    assert not {"cache.dropped", "cache.failed", "cache.passed_by", "repo.opened_cold"} & counted.keys()
