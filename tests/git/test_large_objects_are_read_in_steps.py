"""A large object of a pack is read bit by bit, so that others come between; it is what libgit2 would have read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from memrepo.limits import KIB, MIB
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packed import large_objects
from memrepo_worker.git.packed.directory import ObjectMissingError, PackDirectory
from memrepo_worker.git.packed.large_objects import LARGE_BYTES, read_in_steps
from memrepo_worker.git.packs import encode_index, encode_pack
from memrepo_worker.threads.giving_way import keeping
from tests.support.counted_steps import CountedSteps
from tests.support.jobs import present
from tests.support.stock_git import empty_repository, git

RANDOM = Random(3)
LINES = [f"{number} {RANDOM.random()}\n".encode() for number in range(40_000)]


def states() -> Iterator[bytes]:
    """Yield a file's states, each made from the one before it by edits here and there; then others."""
    lines = [*LINES]
    for number in range(12):
        yield b"".join(lines)
        lines[RANDOM.randrange(len(lines))] = b"edited\n" * number
        lines[RANDOM.randrange(len(lines)) :] = lines[RANDOM.randrange(len(lines)) :]
    yield from (
        b"\n" * 5 * MIB,
        RANDOM.randbytes(MIB),
        b"x" * LARGE_BYTES,
        b"y" * (LARGE_BYTES - 1),
        b"",
        b"small\n",
    )


STATES = [*states()]


@pytest.fixture(scope="module", params=[(), ("--delta-base-offset",)], ids=["bases by id", "bases by offset"])
def packed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, bytes]]:
    """Give a folder of objects, in one pack of stock git's, deltas of deltas among them, and what they are."""
    repo = empty_repository(tmp_path_factory.mktemp("packed") / "repo.git")
    options: Sequence[str] = request.param
    made = {
        git(repo, "hash-object", "-w", "--stdin", stdin=state).decode().strip(): state for state in STATES
    }
    stem = str(repo / "objects" / "pack" / "pack")
    git(repo, "pack-objects", "--quiet", *options, stem, stdin="\n".join(made).encode())
    git(repo, "prune-packed", "--quiet")
    return repo / "objects", made


def packs_in(objects: Path) -> list[str]:
    return [path.stem for path in (objects / "pack").glob("*.idx")]


def test_each_is_what_it_was(packed: tuple[Path, dict[str, bytes]]) -> None:
    objects, made = packed
    found = {sha: read_in_steps(objects / "pack", packs_in(objects), sha) for sha in made}

    assert found == {sha: GitObject(Kind.BLOB, state) for sha, state in made.items()}
    assert read_in_steps(objects / "pack", packs_in(objects), "0" * 40) is None
    packs = PackDirectory(objects)
    assert {sha: present(packs.find(sha)).data for sha in made} == made


def test_others_come_between(packed: tuple[Path, dict[str, bytes]]) -> None:
    objects, made = packed
    packs = PackDirectory(objects)
    for sha, state in made.items():
        with keeping(steps := CountedSteps()):
            packs.find(sha)

        assert steps.count >= len(state) // SharingBounds.piece_bytes or len(state) < LARGE_BYTES


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_what_is_damaged_is_left_to_libgit2_which_says_so(cut: int, tmp_path: Path) -> None:
    repo = empty_repository(tmp_path / "repo.git")
    sha = git(repo, "hash-object", "-w", "--stdin", stdin=STATES[0]).decode().strip()
    stem = str(repo / "objects" / "pack" / "pack")
    git(repo, "pack-objects", "--quiet", stem, stdin=sha.encode())
    git(repo, "prune-packed", "--quiet")
    (pack,) = (repo / "objects" / "pack").glob("*.pack")
    data = bytearray(pack.read_bytes())
    at = cut * len(data) // 4
    data[at : at + 8] = bytes(byte ^ 0xFF for byte in data[at : at + 8])
    pack.chmod(0o600)
    pack.write_bytes(data)

    assert read_in_steps(repo / "objects" / "pack", [pack.stem], sha) is None
    with pytest.raises(ObjectMissingError):
        PackDirectory(repo / "objects").find(sha)


def test_a_delta_of_very_many_parts_is_left_to_libgit2(
    packed: tuple[Path, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, made = packed
    monkeypatch.setattr(large_objects, "_COMMANDS_MAX", 2)
    left = [sha for sha in made if read_in_steps(objects / "pack", packs_in(objects), sha) is None]

    packs = PackDirectory(objects)
    assert left
    assert {sha: present(packs.find(sha)).data for sha in left} == {sha: made[sha] for sha in left}


def test_of_several_packs_the_one_that_has_it_is_read(tmp_path: Path) -> None:
    repo = empty_repository(tmp_path / "repo.git")
    items = [GitObject(Kind.BLOB, bytes([number]) * (LARGE_BYTES + KIB)) for number in range(3)]
    for item in items:
        sha = git(repo, "hash-object", "-w", "--stdin", stdin=item.data)
        git(repo, "pack-objects", "--quiet", str(repo / "objects" / "pack" / "pack"), stdin=sha)
    git(repo, "prune-packed", "--quiet")
    packs = packs_in(repo / "objects")

    assert len(packs) == 3
    assert [read_in_steps(repo / "objects" / "pack", packs, object_id(item)) for item in items] == items


def test_a_large_object_is_in_memory_once_while_it_is_read(tmp_path: Path) -> None:
    item = GitObject(Kind.BLOB, b"a line\n" * MIB)
    pack = encode_pack({object_id(item): item})
    stem = tmp_path / "pack" / f"pack-{pack.checksum}"
    stem.parent.mkdir()
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(encode_index(pack))
    packs = PackDirectory(tmp_path)
    assert packs.header(object_id(item)) == (Kind.BLOB, 7 * MIB)
    tracemalloc.start()
    try:
        assert packs.find(object_id(item)) == item
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak <= 9 * MIB, "its pieces were kept until it was joined of them"
