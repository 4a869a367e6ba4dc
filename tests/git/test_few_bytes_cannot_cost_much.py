"""Packs of a few bytes that stand for gigabytes: refused for little, with the setting that would take them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from memrepo.settings import environment
from memrepo_worker.git.command import GitError
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.pack_sizes import PackTooLargeError, check_unpacked, holds
from memrepo_worker.git.packs import encode_pack
from memrepo_worker.observe import Counters
from memrepo_worker.processes import (
    HOLDS_BOUNDS,
    ProcessBounds,
    Processes,
    ProcessFailedError,
    ProcessOverBoundsError,
)
from memrepo_worker.replay.source import SourceRepository
from tests.support.bombs import MIB, bundle, nested_deltas, zeros
from tests.support.histories import FILE, FOLDER, Scribe
from tests.support.plain_git import plain_git
from tests.support.stock_git import git, stock_git

ROOT = Path(__file__).resolve().parents[2]

IMPORT = """
import json, resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits
from memrepo_worker.group import Agent
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.store.backends.memory import MemoryStore
from tests.support.stock_git import stock_git

with ThreadPoolExecutor(1) as executor:
    try:
        transfer = Transfer(MemoryStore(), stock_git(), executor, lambda: 1.0, Limits())
        transfer.import_(Agent("a", "b"), Path(sys.argv[1]))
    except InvalidRequestError as error:
        told = str(error)
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
# Not ru_maxrss for ours: that is at least what the process that started this one had.
(line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
peaks_mib = [int(line.split()[1]) / 1024, used[1].ru_maxrss / 1024]
print(json.dumps([told, peaks_mib, sum(each.ru_utime for each in used)]))
"""


@pytest.mark.parametrize(
    ("made", "setting"),
    [
        (lambda: nested_deltas([255, 50]), "MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX"),
        (lambda: nested_deltas([255, 255, 255]), "MEMREPO_FOREIGN_UNPACKED_BYTES_MAX"),
        (lambda: zeros(100, 8 * MIB), "MEMREPO_FOREIGN_UNPACKED_BYTES_MAX"),
    ],
    ids=["deltas to 800 MB", "deltas to 1 TB", "zeros to 800 MB"],
)
def test_a_bundle_that_stands_for_far_more_is_refused_for_little(
    made: Callable[[], bytes], setting: str, tmp_path: Path
) -> None:
    pack = made()
    assert len(pack) < 1 * MIB
    (tmp_path / "bomb.bundle").write_bytes(bundle(pack))

    said = Processes(Counters()).run(
        [sys.executable, "-c", IMPORT, str(tmp_path / "bomb.bundle")],
        env={"PATH": environment()["PATH"], "PYTHONPATH": str(ROOT)},
        timeout_s=60,
    )

    told, (ours_mib, gits_mib), seconds = json.loads(said)
    assert told.startswith("file: is not a bundle that can be imported: ")
    assert setting in told
    assert ours_mib < 200
    assert gits_mib < 200
    assert seconds < 10  # of processor time, starting included


def test_git_is_told_how_much_it_may_allocate_at_once(tmp_path: Path) -> None:
    """Not only held to it by the kernel, which does so with the memory of all of it together, and not everywhere."""
    stand_in = tmp_path / "git"
    stand_in.write_text('#!/bin/sh\necho "$GIT_ALLOC_LIMIT"\n')
    stand_in.chmod(0o755)
    plain = replace(stock_git(), search_path=str(tmp_path))

    for one, bounds in ((plain, plain.caps.bounds), (plain.for_foreign(1000), plain.caps.bounds_for(1000))):
        assert int(one.run(["index-pack"])) == bounds.allocation_bytes_max


def test_a_history_that_stands_for_a_milliard_of_paths_is_refused(tmp_path: Path) -> None:
    scribe = Scribe()
    mode, sha = FILE, scribe.blob(b"x")
    for _ in range(9):
        sha = scribe.raw_tree([(mode, b"%d" % number, sha) for number in range(10)])
        mode = FOLDER
    repo = scribe.write(tmp_path / "repo.git", {"refs/heads/main": scribe.commit(sha)})

    with pytest.raises(
        GitError, match=r"MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX allows for more.* with --limit"
    ):
        SourceRepository.open(repo, stock_git()).history()


def test_what_a_pack_stands_for_is_what_its_objects_are(tmp_path: Path) -> None:
    """Also of deltas, which stock git makes of texts that grow."""
    plain_git(tmp_path, "init", "--quiet", "-b", "main", ".")
    random = Random(7)
    lines = [b"%030d\n" % random.randrange(10**30) for _ in range(3000)]
    for number in range(20):
        (tmp_path / "notes.md").write_bytes(b"".join(lines[: 1000 + 100 * number]))
        plain_git(tmp_path, "add", ".")
        plain_git(tmp_path, "commit", "--quiet", "-m", f"{number}")
    for options in ((), ("--delta-base-offset",)):
        pack = git(
            tmp_path / ".git", "pack-objects", "--revs", "--stdout", "--quiet", *options, stdin=b"main\n"
        )
        sizes = git(tmp_path / ".git", "cat-file", "--batch-all-objects", "--batch-check=%(objectsize)")
        total = sum(map(int, sizes.split()))
        assert len(pack) < total / 4

        assert check_unpacked(pack, total, total) == total
        with pytest.raises(PackTooLargeError):
            check_unpacked(pack, total - 1, total)
        listed = git(tmp_path / ".git", "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
        said = {holds(pack, sha) for sha in listed.decode().split()}
        assert said == {True, None}, "what stands behind a delta is looked at, too"
        assert holds(pack, "1" * 40) is None


def test_a_large_object_that_compresses_well_is_passed_over_wherever_it_stands() -> None:
    large = GitObject(Kind.BLOB, (b"100644 " + b"n" * 4000 + bytes(21)) * 5000)
    small = GitObject(Kind.BLOB, b"x" * 50)
    for order in ([large, small], [small, large], [large, large, small]):
        pack = _pack_of(order)
        total = sum(len(item.data) for item in order)
        assert check_unpacked(pack, total, total) == total
        assert holds(pack, object_id(order[-1]))
        assert not holds(pack, "1" * 40)


def _pack_of(items: Sequence[GitObject]) -> bytes:
    return encode_pack({f"{number:040d}": item for number, item in enumerate(items)}).data


def _packs() -> bytes:
    blobs = [GitObject(Kind.BLOB, bytes([number]) * 3000) for number in range(20)]
    return encode_pack({object_id(blob): blob for blob in blobs}).data


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_pack_is_a_value_error_whatever_was_damaged(seed: int) -> None:
    random = Random(seed)
    pack = bytearray(_packs())
    for _ in range(3):
        pack[random.randrange(12, len(pack))] = random.randrange(256)
    cut = bytes(pack[: random.randrange(40, len(pack))])

    for damaged in (bytes(pack), cut):
        try:
            check_unpacked(damaged, 10 * MIB, 10 * MIB)
        except ValueError:
            continue
        assert damaged is not cut, "a pack that ends early was taken"


@pytest.mark.parametrize(
    ("script", "bounds", "said"),
    [
        ("while :; do :; done", ProcessBounds(cpu_s=1), "used more than 1 s of processor time"),
        (
            "while :; do echo more; done",
            ProcessBounds(output_bytes_max=100_000),
            "wrote more than 100000 bytes",
        ),
        (
            "while :; do echo more >&2; done",
            ProcessBounds(output_bytes_max=100_000),
            "wrote more than 100000 bytes",
        ),
    ],
)
def test_a_process_over_its_bounds_is_ended_and_says_which(
    script: str, bounds: ProcessBounds, said: str
) -> None:
    with pytest.raises(ProcessFailedError, match=said):
        Processes(Counters()).run(["sh", "-c", script], env={}, timeout_s=100, bounds=bounds)


@pytest.mark.skipif(not HOLDS_BOUNDS, reason="the kernel here bounds no other process")
def test_a_process_that_writes_too_much_to_a_file_is_ended_likewise(tmp_path: Path) -> None:
    with (tmp_path / "written").open("wb") as file, pytest.raises(ProcessOverBoundsError, match="100000"):
        Processes(Counters()).run(
            ["sh", "-c", "while :; do echo more; done"],
            env={},
            timeout_s=100,
            stdout=file,
            bounds=ProcessBounds(output_bytes_max=100_000),
        )

    assert (tmp_path / "written").stat().st_size <= 100_000


def test_a_process_is_fed_and_read_at_the_same_time() -> None:
    data = bytes(range(256)) * 40_000

    output = Processes(Counters()).run(
        ["sh", "-c", "cat; head -c 200000 /dev/zero >&2"],
        env={"PATH": "/usr/bin:/bin"},
        timeout_s=60,
        stdin=data,
    )

    assert output == data
