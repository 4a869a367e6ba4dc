"""Packs are files, and a process may only have so many open."""

from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path

from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_index, encode_pack
from memrepo_worker.git.reader import PackDirectory, limit_open_packs

REPOSITORIES = 120
LIMIT = 40


def open_packs() -> int:
    gc.collect()
    names = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder that is being listed
            names.append(str(link.readlink()))
    return sum(".pack" in name for name in names)


def write_repository(path: Path) -> str:
    """Write a folder of objects with one pack of one blob; return the blob's id."""
    blob = GitObject(Kind.BLOB, str(path).encode())
    pack = encode_pack({object_id(blob): blob})
    (path / "pack").mkdir(parents=True)
    stem = path / "pack" / f"pack-{pack.checksum}"
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(encode_index(pack))
    return object_id(blob)


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
