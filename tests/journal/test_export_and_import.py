"""An agent's memory as one stock bundle: out, and in again, also from strangers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memrepo.errors import InvalidRequestError, RepoExistsError, RepoNotFoundError
from memrepo.limits import Limits
from memrepo_worker.git.bundles import encode_bundle
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
from memrepo_worker.git.packs import encode_pack
from memrepo_worker.group import Agent
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.store.backends.local import LocalStore
from tests.support.histories import Scribe
from tests.support.stock_git import empty_repository, git, stock_git
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, files, history, writer

OTHER = Agent("acme", "copy")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def transfer(store: LocalStore) -> Iterator[Transfer]:
    with ThreadPoolExecutor(4) as executor:
        yield Transfer(store, stock_git(), executor, lambda: NOW_S, Limits())


@pytest.fixture
def memory(store: LocalStore, tmp_path: Path) -> Iterator[Writer]:
    """A writer with a memory of two branches."""
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(human="likes tea"))
        one.ask(commit("second"))
        one.ask(commit("aside", branch="idea"))
        yield one


def test_stock_git_clones_what_was_exported(memory: Writer, transfer: Transfer, tmp_path: Path) -> None:
    bundle = tmp_path / "memory.bundle"

    transfer.export(AGENT, bundle)

    clone = tmp_path / "clone.git"
    stock_git().run(["clone", "--quiet", "--bare", str(bundle), str(clone)])
    assert git(clone, "log", "--format=%s", "main").decode().split("\n")[:-1] == ["second", "Initial commit"]
    assert git(clone, "log", "--format=%s", "-1", "idea").decode().strip() == "aside"
    git(clone, "fsck", "--strict")


def test_what_was_exported_is_imported_with_equal_shas(
    memory: Writer, transfer: Transfer, store: LocalStore, tmp_path: Path
) -> None:
    bundle = tmp_path / "memory.bundle"
    transfer.export(AGENT, bundle)

    assert transfer.import_(OTHER, bundle, trust_claims=True) == 3

    with writer(store, tmp_path / "other-cache") as one:
        before = memory.ask(files())
        copy_request = files().model_copy(update={"agent_id": OTHER.agent_id})
        one.agent = OTHER
        assert one.ask(copy_request).commit_sha == before.commit_sha


def test_an_agent_that_has_a_memory_is_not_overwritten(
    memory: Writer, transfer: Transfer, tmp_path: Path
) -> None:
    bundle = tmp_path / "memory.bundle"
    transfer.export(AGENT, bundle)

    with pytest.raises(RepoExistsError):
        transfer.import_(AGENT, bundle)


def test_a_deleted_memory_can_be_begun_anew_from_a_bundle(
    memory: Writer, transfer: Transfer, tmp_path: Path
) -> None:
    bundle = tmp_path / "memory.bundle"
    transfer.export(AGENT, bundle)
    memory.ask(delete())
    with pytest.raises(RepoNotFoundError):
        transfer.export(AGENT, bundle.with_name("none.bundle"))

    transfer.import_(AGENT, bundle, trust_claims=True)

    memory.new_lease()
    assert memory.messages() == ["Initial commit", "second"]


def test_verify_counts_the_commits_of_a_sound_journal_and_finds_damage(
    memory: Writer, transfer: Transfer, store: LocalStore
) -> None:
    assert transfer.verify(AGENT) == 3

    key = "acme/agent-1/repo.git/journal/00000000000000000002.bundle"
    data = bytearray(store.get(key).data)
    data[-30] ^= 0xFF
    (store_path(store) / key).write_bytes(bytes(data))

    with pytest.raises(Exception, match=r"pack|bundle|inflate|object"):
        transfer.verify(AGENT)


def store_path(store: LocalStore) -> Path:
    return store._root


def bundle_of(
    path: Path,
    entries: Mapping[str, tuple[str, bytes]],
    *,
    prerequisites: Sequence[str] = (),
    leave_out: Sequence[str] = (),
) -> Path:
    """Write a bundle with one commit of these tree entries: name -> (mode, content)."""
    objects, lines = {}, {}
    for name, (mode, content) in entries.items():
        blob = GitObject(Kind.BLOB, content)
        objects[object_id(blob)] = blob
        lines[name] = TreeEntry(mode, object_id(blob))
    tree = encode_tree(lines)
    ident = Ident("A", "a@example.org", 1_700_000_000)
    item = encode_commit(Commit(object_id(tree), (), ident, ident, "m"))
    objects |= {object_id(tree): tree, object_id(item): item}
    objects = {sha: item for sha, item in objects.items() if item.kind.word not in leave_out}
    refs = {"refs/heads/main": next(sha for sha, item in objects.items() if item.kind is Kind.COMMIT)}
    path.write_bytes(encode_bundle(prerequisites, refs, encode_pack(objects).data))
    return path


@pytest.mark.parametrize(
    "entries",
    [
        {"..": ("100644", b"x")},
        {".git": ("100644", b"x")},
        {".GIT": ("100644", b"x")},
        {"git~1": ("100644", b"x")},
        {".gitmodules": ("100644", b"x")},
        {"a\\b": ("100644", b"x")},
        {"link": ("120000", b"/etc/passwd")},
        {"a/b": ("100644", b"x")},
        {"": ("100644", b"x")},
        {"trailing ": ("100644", b"x")},
    ],
)
def test_a_bundle_with_what_memrepo_does_not_keep_is_refused(
    entries: Mapping[str, tuple[str, bytes]], transfer: Transfer, store: LocalStore, tmp_path: Path
) -> None:
    bundle = bundle_of(tmp_path / "hostile.bundle", entries)

    with pytest.raises(InvalidRequestError):
        transfer.import_(OTHER, bundle)

    assert not list(store.list(""))


def test_a_sound_bundle_made_the_same_way_is_taken(transfer: Transfer, tmp_path: Path) -> None:
    assert transfer.import_(OTHER, bundle_of(tmp_path / "fine.bundle", {"fine": ("100644", b"x")})) == 1


@pytest.mark.parametrize("kind", ["blob", "tree"])
def test_a_bundle_that_lacks_objects_is_refused(
    kind: str, transfer: Transfer, store: LocalStore, tmp_path: Path
) -> None:
    bundle = bundle_of(tmp_path / "thin.bundle", {"x": ("100644", b"x")}, leave_out=(kind,))

    with pytest.raises(InvalidRequestError):
        transfer.import_(OTHER, bundle)

    assert not list(store.list(""))


@pytest.mark.parametrize("data", [b"", b"hello", b"# v2 git bundle\n\nPACKgarbage"])
def test_a_file_that_is_no_bundle_is_refused(data: bytes, transfer: Transfer, tmp_path: Path) -> None:
    path = tmp_path / "no.bundle"
    path.write_bytes(data)

    with pytest.raises(InvalidRequestError):
        transfer.import_(OTHER, path)


def test_a_bundle_that_needs_more_than_it_holds_is_refused(transfer: Transfer, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "part.bundle", {"x": ("100644", b"x")}, prerequisites=("a" * 40,))

    with pytest.raises(InvalidRequestError, match="--all"):
        transfer.import_(OTHER, bundle)


def test_a_bundle_made_by_stock_git_is_imported(transfer: Transfer, tmp_path: Path) -> None:
    repo = empty_repository(tmp_path / "repo.git")
    blob = git(repo, "hash-object", "-w", "--stdin", stdin=b"hello").decode().strip()
    tree = git(repo, "mktree", stdin=f"100755 blob {blob}\trun\n".encode()).decode().strip()
    who = "GIT <git@example.org> 1700000000 +0200"
    text = f"tree {tree}\nauthor {who}\ncommitter {who}\n\nby hand\n"
    sha = git(repo, "hash-object", "-t", "commit", "-w", "--stdin", stdin=text.encode()).decode().strip()
    git(repo, "update-ref", "refs/heads/main", sha)
    git(repo, "bundle", "create", "--quiet", str(tmp_path / "stock.bundle"), "--all")

    assert transfer.import_(OTHER, tmp_path / "stock.bundle") == 1


def test_imported_text_in_another_encoding_is_told_as_git_log_shows_it(
    transfer: Transfer, store: LocalStore, tmp_path: Path
) -> None:
    scribe = Scribe()
    text = ("für", "Jörg <j@example.org>")
    message, author = (each.encode("latin-1") for each in text)
    sha = scribe.commit({"a.md": b""}, message=message, author=author, headers=[b"encoding ISO-8859-1"])
    repo = scribe.write(tmp_path / "repo.git", {"refs/heads/main": sha})
    git(repo, "bundle", "create", "--quiet", str(tmp_path / "latin.bundle"), "--all")

    transfer.import_(AGENT, tmp_path / "latin.bundle")

    with writer(store, tmp_path / "cache") as one:
        (told,) = one.ask(history())
    assert (told.message, told.author_name) == ("für", "Jörg")
