"""Packs, indexes and bundles made in memory, judged by stock git."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from memrepo_worker.git.bundles import NotABundleError, decode_bundle, encode_bundle
from memrepo_worker.git.objects import (
    Commit,
    GitObject,
    Ident,
    Kind,
    TreeEntry,
    encode_commit,
    encode_tree,
    object_id,
)
from memrepo_worker.git.packed.directory import ObjectMissingError, PackDirectory
from memrepo_worker.git.packs import COMPRESSED, STORED, encode_index, encode_pack, join_packs, object_count
from memrepo_worker.git.reader import Reader
from tests.support.stock_git import GitError, empty_repository, git


def blobs(*contents: bytes) -> dict[str, GitObject]:
    items = [GitObject(Kind.BLOB, content) for content in contents]
    return {object_id(item): item for item in items}


def some_history(message: str = "first") -> tuple[str, dict[str, GitObject]]:
    """One commit of two files; returns its id and its objects."""
    objects = blobs(b"tea\n", b"\x00\xff" * 5000)
    first, second = objects
    tree = encode_tree({"tea.md": TreeEntry("100644", first), "run": TreeEntry("100755", second)})
    ident = Ident("Ann", "ann@example.org", 1_700_000_000)
    commit = encode_commit(Commit(object_id(tree), (), ident, ident, message))
    objects |= {object_id(tree): tree, object_id(commit): commit}
    return object_id(commit), objects


@pytest.mark.parametrize("level", [COMPRESSED, STORED])
def test_stock_git_verifies_a_pack_with_the_index_written_beside_it(level: int, tmp_path: Path) -> None:
    rnd = random.Random(1)
    sizes = [0, 1, 15, 16, 2047, 2048, 4095, 4096, 65_535, 65_536, 65_537, 70_000, 3_000_000]
    pack = encode_pack(blobs(*(rnd.randbytes(size) for size in sizes)), level)
    repo = empty_repository(tmp_path / "repo.git")
    stem = repo / "objects" / "pack" / f"pack-{pack.checksum}"
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(encode_index(pack))

    listed = git(repo, "verify-pack", "--verbose", str(stem.with_suffix(".idx"))).decode()

    assert {line.split()[0] for line in listed.splitlines() if " blob " in line} == {
        item.sha for item in pack.objects
    }
    git(repo, "fsck", "--strict")


def test_the_index_is_byte_for_byte_the_one_that_stock_git_makes(tmp_path: Path) -> None:
    pack = encode_pack(some_history()[1])
    path = tmp_path / "ours.pack"
    path.write_bytes(pack.data)
    repo = empty_repository(tmp_path / "repo.git")

    git(repo, "index-pack", str(path))

    assert path.with_suffix(".idx").read_bytes() == encode_index(pack)


def test_objects_read_back_through_libgit2_are_the_ones_written(tmp_path: Path) -> None:
    head, objects = some_history()
    repo = empty_repository(tmp_path / "repo.git")
    git(repo, "index-pack", "--stdin", stdin=encode_pack(objects).data)

    packs = PackDirectory(repo / "objects")

    assert {sha: packs.find(sha) for sha in objects} == objects
    assert all(packs.header(sha) == (item.kind, len(item.data)) for sha, item in objects.items())
    assert Reader(packs).commit(head).author.email == "ann@example.org"


def test_an_object_that_is_not_there_is_none_and_reading_it_is_an_error(tmp_path: Path) -> None:
    packs = PackDirectory(empty_repository(tmp_path / "repo.git") / "objects")

    assert packs.find("a" * 40) is None
    with pytest.raises(ObjectMissingError):
        Reader(packs).blob("a" * 40)


def test_joined_packs_hold_all_objects_even_those_that_several_have(tmp_path: Path) -> None:
    one, two = blobs(b"one", b"both"), blobs(b"two", b"both")
    joined = bytes(join_packs([encode_pack(one).data, encode_pack({}).data, encode_pack(two).data]) or b"")
    repo = empty_repository(tmp_path / "repo.git")

    git(repo, "index-pack", "--stdin", "--fix-thin", stdin=joined)

    assert object_count(joined) == 4
    packs = PackDirectory(repo / "objects")
    assert {sha: packs.find(sha) for sha in one | two} == one | two


def test_joining_nothing_but_empty_packs_gives_none() -> None:
    assert join_packs([encode_pack({}).data]) is None


def test_a_bundle_decodes_to_what_was_encoded_and_stock_git_clones_it(tmp_path: Path) -> None:
    head, objects = some_history()
    refs = {"refs/heads/main": head, "HEAD": head}
    data = encode_bundle((), refs, encode_pack(objects).data)

    bundle = decode_bundle(data)
    path = tmp_path / "memory.bundle"
    path.write_bytes(data)
    repo = empty_repository(tmp_path / "repo.git")
    git(repo, "fetch", "--quiet", str(path), "+refs/heads/*:refs/heads/*")

    assert bundle.refs == refs
    assert git(repo, "rev-parse", "main").decode().strip() == head
    git(repo, "fsck", "--strict")


def test_stock_git_misses_the_prerequisite_of_a_bundle_that_lacks_it(tmp_path: Path) -> None:
    head, objects = some_history()
    data = encode_bundle(("b" * 40,), {"refs/heads/main": head}, encode_pack(objects).data)
    path = tmp_path / "memory.bundle"
    path.write_bytes(data)
    repo = empty_repository(tmp_path / "repo.git")

    with pytest.raises(GitError, match="prerequisite"):
        git(repo, "bundle", "verify", str(path))


@pytest.mark.parametrize("data", [b"", b"hello", b"# v3 git bundle\n\nPACK", b"# v2 git bundle\nno end"])
def test_what_is_no_bundle_of_version_2_is_refused(data: bytes) -> None:
    with pytest.raises(NotABundleError):
        decode_bundle(data)
