"""Packs are files: a process may only have so many open, and only so much of them in memory."""

from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path
from random import Random

from memrepo.limits import KIB, MIB
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packed.directory import PackDirectory
from memrepo_worker.git.packed.mapping import PASSING_BYTES_MAX, limit_open_packs
from memrepo_worker.git.packs import encode_index, encode_pack

REPOSITORIES = 120
LIMIT = 40


def open_packs() -> int:
    gc.collect()
    names = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder that is being listed
            names.append(str(link.readlink()))
    return sum(".pack" in name for name in names)


def mapped_bytes(path: Path) -> int:
    """Return how much of the packs of a repository is mapped into memory."""
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if f"{path}/pack/" in line and line.endswith(".pack"):
            begin, end = line.split()[0].split("-")
            total += int(end, 16) - int(begin, 16)
    return total


def write_blobs(path: Path, *contents: bytes) -> list[str]:
    """Write a folder of objects with one pack of these blobs; return their ids."""
    blobs = [GitObject(Kind.BLOB, content) for content in contents]
    pack = encode_pack({object_id(blob): blob for blob in blobs})
    (path / "pack").mkdir(parents=True)
    stem = path / "pack" / f"pack-{pack.checksum}"
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(encode_index(pack))
    return [object_id(blob) for blob in blobs]


def write_repository(path: Path) -> str:
    """Write a folder of objects with one pack of one blob; return the blob's id."""
    return write_blobs(path, str(path).encode())[0]


def test_a_repository_that_is_let_go_leaves_no_pack_open(tmp_path: Path) -> None:
    before = open_packs()
    for number in range(REPOSITORIES):
        sha = write_repository(tmp_path / str(number))
        assert PackDirectory(tmp_path / str(number)).find(sha)

    assert open_packs() == before


def test_many_repositories_at_once_share_a_limited_number_of_open_packs(tmp_path: Path) -> None:
    before = open_packs()
    limit_open_packs(LIMIT)
    try:
        kept = []
        for number in range(REPOSITORIES):
            sha = write_repository(tmp_path / str(number))
            kept.append((PackDirectory(tmp_path / str(number)), sha))
            assert kept[-1][0].find(sha)
        assert open_packs() - before <= LIMIT
        assert all(packs.find(sha) for packs, sha in kept), "a closed pack is opened again when it is needed"
    finally:
        limit_open_packs(0)


def test_of_a_pack_that_is_larger_than_what_may_be_mapped_what_was_read_stays_mapped(tmp_path: Path) -> None:
    random = Random(1)
    large, small = tmp_path / "large", tmp_path / "small"
    ids = write_blobs(large, *(random.randbytes(64 * KIB) for _ in range(64)))
    (other,) = write_blobs(small, b"a note\n")
    limit_open_packs(LIMIT, mapped_bytes_max=2 * MIB)
    try:
        packs, others = PackDirectory(large), PackDirectory(small)
        for sha in ids[::16]:
            assert packs.find(sha)
            assert others.find(other)

        assert mapped_bytes(small)
        assert mapped_bytes(large), "each read of it would map it anew"
        for sha in ids:
            assert packs.find(sha)
        assert mapped_bytes(large) + mapped_bytes(small) <= 2 * MIB
    finally:
        limit_open_packs(0)


def test_of_a_pack_that_was_gone_through_little_stays_mapped_until_it_is_read(tmp_path: Path) -> None:
    """Else the proof of one large memory leaves as much mapped as all memories together may have."""
    random = Random(2)
    ids = write_blobs(tmp_path, *(random.randbytes(64 * KIB) for _ in range(256)))
    limit_open_packs(LIMIT)
    try:
        packs = PackDirectory(tmp_path)

        assert packs.header(ids[0])

        assert mapped_bytes(tmp_path) <= PASSING_BYTES_MAX
        for sha in ids:
            assert packs.find(sha)
        assert mapped_bytes(tmp_path) >= 15 * MIB, "each read of it would map it anew"
    finally:
        limit_open_packs(0)
