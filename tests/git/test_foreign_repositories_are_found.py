"""Wherever a repository keeps what it is made of, it is found and read; where it cannot be, one line says why."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from memrepo_worker.git.command import GitError
from memrepo_worker.git.foreign import find_repository
from memrepo_worker.replay.source import SourceRepository
from tests.support.histories import Scribe
from tests.support.plain_git import plain_git
from tests.support.stock_git import stock_git

FILES = {"human.md": b"likes tea\n", "notes/today.md": b"rain\n"}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a work tree, two commits and two branches."""
    folder = tmp_path_factory.mktemp("origin") / "work"
    folder.mkdir()
    scribe = Scribe()
    first = scribe.commit({"human.md": b""})
    second = scribe.commit(FILES, first)
    scribe.write(folder / ".git", {"refs/heads/main": second, "refs/heads/old": first})
    (folder / ".git" / "config").write_text("[core]\n\tbare = false\n[uploadpack]\n\tallowFilter = true\n")
    plain_git(folder, "reset", "--quiet", "--hard")
    return folder


def read(path: Path) -> list[str]:
    """Return the paths that each commit changed, oldest first; every file is read."""
    source = SourceRepository.open(path, stock_git())
    history = source.history()
    for commit in history:
        assert source.blobs({change.entry.sha for change in commit.changes if change.entry})
    return [" ".join(change.path for change in commit.changes) for commit in history]


BOTH = ["human.md", "human.md notes/today.md"]


def _work_tree(origin: Path, folder: Path) -> Path:
    return origin


def _folder_inside(origin: Path, folder: Path) -> Path:
    return origin / "notes"


def _git_folder(origin: Path, folder: Path) -> Path:
    return origin / ".git"


def _link_to_it(origin: Path, folder: Path) -> Path:
    (folder / "link").symlink_to(origin)
    return folder / "link"


def _bare_clone(origin: Path, folder: Path) -> Path:
    plain_git(folder, "clone", "--quiet", "--bare", str(origin), "bare.git")
    return folder / "bare.git"


def _borrowing_clone(origin: Path, folder: Path) -> Path:
    plain_git(folder, "clone", "--quiet", "--shared", str(origin), "one")
    plain_git(folder, "clone", "--quiet", "--shared", "one", "two")
    return folder / "two"


def _linked_work_tree(origin: Path, folder: Path) -> Path:
    own = _bare_clone(origin, folder)
    plain_git(own, "worktree", "add", "--quiet", "../linked", "main")
    return folder / "linked" / "notes"


def _submodule(origin: Path, folder: Path) -> Path:
    plain_git(folder, "init", "--quiet", "-b", "main", "outer")
    allow = ("-c", "protocol.file.allow=always")
    plain_git(folder / "outer", *allow, "submodule", "--quiet", "add", str(origin), "inner")
    return folder / "outer" / "inner"


def _detached(origin: Path, folder: Path) -> Path:
    own = _bare_clone(origin, folder)
    plain_git(own, "update-ref", "--no-deref", "HEAD", "main")
    return own


def _loose_refs_through_another(origin: Path, folder: Path) -> Path:
    own = _bare_clone(origin, folder)
    plain_git(own, "symbolic-ref", "refs/heads/now", "refs/heads/main")
    plain_git(own, "symbolic-ref", "HEAD", "refs/heads/now")
    return own


def _linked_head(origin: Path, folder: Path) -> Path:
    """HEAD as git wrote it before 2005."""
    own = _bare_clone(origin, folder)
    plain_git(own, "pack-refs", "--all")
    plain_git(own, "update-ref", "refs/heads/main", "main~0")
    (own / "refs" / "heads" / "main").write_bytes(plain_git(own, "rev-parse", "main"))
    (own / "HEAD").unlink()
    (own / "HEAD").symlink_to("refs/heads/main")
    return own


def _sealed_by_indexes(origin: Path, folder: Path) -> Path:
    own = _bare_clone(origin, folder)
    plain_git(own, "repack", "--quiet", "-adb")
    plain_git(own, "multi-pack-index", "write")
    plain_git(own, "commit-graph", "write", "--reachable")
    return own


@pytest.mark.parametrize(
    "shape",
    [
        _work_tree,
        _folder_inside,
        _git_folder,
        _link_to_it,
        _bare_clone,
        _borrowing_clone,
        _linked_work_tree,
        _submodule,
        _detached,
        _loose_refs_through_another,
        _linked_head,
        _sealed_by_indexes,
    ],
    ids=lambda shape: shape.__name__.strip("_"),
)
def test_a_repository_is_found_in_whatever_form(
    shape: Callable[[Path, Path], Path], origin: Path, tmp_path: Path
) -> None:
    assert read(shape(origin, tmp_path)) == BOTH


def test_a_shallow_clone_is_read_from_its_first_commit_on(origin: Path, tmp_path: Path) -> None:
    plain_git(tmp_path, "clone", "--quiet", "--depth", "1", origin.as_uri(), "shallow")

    assert read(tmp_path / "shallow") == ["human.md notes/today.md"]


def test_replaced_commits_are_read_as_they_were(origin: Path, tmp_path: Path) -> None:
    own = _bare_clone(origin, tmp_path)
    plain_git(own, "replace", "main", "old")

    assert read(own) == BOTH


def test_a_commit_graph_that_lies_is_not_believed(origin: Path, tmp_path: Path) -> None:
    own = _bare_clone(origin, tmp_path)
    scribe = Scribe()
    other = scribe.write(tmp_path / "other.git", {"refs/heads/main": scribe.commit({"other.md": b""})})
    for folder in (own, other):
        plain_git(folder, "commit-graph", "write", "--reachable")
    graph = own / "objects" / "info" / "commit-graph"
    data = graph.read_bytes()
    head = bytes.fromhex(plain_git(own, "rev-parse", "main").decode().strip())
    graph.chmod(0o600)
    graph.write_bytes(data.replace(head, bytes(20)))  # as if the head had another name there

    assert read(own) == BOTH


@pytest.mark.parametrize("head", ["ref: refs/heads/none\n", "ref: refs/heads/deep/er\n"])
def test_a_head_that_names_no_commit_yet_is_said(head: str, origin: Path, tmp_path: Path) -> None:
    own = _bare_clone(origin, tmp_path)
    (own / "HEAD").write_text(head)

    with pytest.raises(GitError, match="has no commit to replay: its HEAD names none"):
        read(own)


def _is_refused(path: Path, saying: str) -> None:
    with pytest.raises(GitError) as refused:
        read(path)
    assert saying in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_no_repository_is_said(tmp_path: Path) -> None:
    _is_refused(tmp_path, f"{tmp_path} is not a git repository, nor inside one")


def test_a_work_tree_whose_repository_is_gone_names_where_it_should_be(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: ../gone/.git/worktrees/x\n")

    _is_refused(tmp_path, f"{tmp_path}/.git should name a git repository, and names none")


@pytest.mark.parametrize("filtered", ["blob:none", "tree:0"])
def test_a_partial_clone_says_what_is_missing_and_what_to_do(
    filtered: str, origin: Path, tmp_path: Path
) -> None:
    plain_git(tmp_path, "clone", "--quiet", "--bare", f"--filter={filtered}", origin.as_uri(), "partial.git")

    _is_refused(
        tmp_path / "partial.git", "is a partial clone (git clone --filter), and memrepo fetches nothing: "
    )
    _is_refused(tmp_path / "partial.git", "Replay a full one, made by git clone without --filter.")


def test_a_repository_that_lost_a_file_says_which(origin: Path, tmp_path: Path) -> None:
    scribe = Scribe()
    head = scribe.commit({"a.md": b"here\n", "b.md": b"gone\n"})
    gone = scribe.blob(b"gone\n")
    del scribe.objects[gone]
    own = scribe.write(tmp_path / "own.git", {"refs/heads/main": head})

    _is_refused(own, f"cannot be read whole: 1 of 2 files are not in it, {gone} for one. git fsck says more.")


def test_a_repository_of_sha_256_says_how_to_convert_it(tmp_path: Path) -> None:
    plain_git(tmp_path, "init", "--quiet", "-b", "main", "--object-format=sha256", "own")
    plain_git(tmp_path / "own", "commit", "--quiet", "--allow-empty", "-m", "first")

    _is_refused(tmp_path / "own", "names its objects by SHA-256, and memrepo keeps SHA-1: convert it")


def test_a_repository_with_a_reftable_says_how_to_copy_it(origin: Path, tmp_path: Path) -> None:
    own = _bare_clone(origin, tmp_path)
    (own / "reftable").mkdir()
    (own / "HEAD").write_text("ref: refs/heads/.invalid\n")

    _is_refused(own, "replay a copy made by git clone --bare --ref-format=files")


@pytest.mark.parametrize(
    "head", ["", "ref: HEAD\n", "ref: ../../etc/passwd\n", "ref: refs/../../x\n", "nonsense\n", "a" * 100_000]
)
def test_a_damaged_head_is_said_and_leads_nowhere(head: str, origin: Path, tmp_path: Path) -> None:
    own = _bare_clone(origin, tmp_path)
    (own / "HEAD").write_text(head)

    with pytest.raises(GitError, match=r"damaged|git would have written"):
        read(own)


@pytest.mark.parametrize(
    "name", ["HEAD", "packed-refs", "shallow", "objects/info/alternates", "objects/pack/pack-1.idx"]
)
def test_a_named_pipe_is_waited_for_by_nobody(name: str, origin: Path, tmp_path: Path) -> None:
    own = _bare_clone(origin, tmp_path)
    (own / name).unlink(missing_ok=True)
    os.mkfifo(own / name)

    if name == "shallow":  # no file there: none
        assert read(own) == BOTH
    else:
        with pytest.raises(GitError):
            read(own)


def test_nothing_is_read_of_a_repository_that_is_not_the_one_named(origin: Path, tmp_path: Path) -> None:
    """A pointer to somebody else's files would have an operator read what only the operator may."""
    own = _bare_clone(origin, tmp_path)
    if os.geteuid() == 0:  # what is root's must be somebody else's
        for path in (own, *own.rglob("*")):
            os.chown(path, 12345, 12345)
    assert read(own) == BOTH

    alternates = own / "objects" / "info" / "alternates"
    alternates.write_text("# comment\n/usr\n")
    _is_refused(own, "leads to /usr, which belongs to another user")
    alternates.write_text('"/usr"\n')
    _is_refused(own, "is not understood")
    alternates.unlink()
    (own / "packed-refs").unlink()
    (own / "packed-refs").symlink_to("/etc/passwd")
    _is_refused(own, "packed-refs, which belongs to another user")


def test_a_git_file_that_names_anothers_repository_is_not_followed(origin: Path, tmp_path: Path) -> None:
    own = _bare_clone(origin, tmp_path)
    pointing = tmp_path / "pointing"
    pointing.mkdir()
    (pointing / ".git").write_text(f"gitdir: {own}\n")
    assert read(pointing) == BOTH

    if os.geteuid() == 0:  # nobody else can give files away
        os.chown(pointing, 12345, 12345)
        _is_refused(pointing, f"leads to {own}, which belongs to another user")


def test_what_objects_take_is_counted_with_those_that_are_borrowed(origin: Path, tmp_path: Path) -> None:
    alone = find_repository(origin).stored_bytes

    assert find_repository(_borrowing_clone(origin, tmp_path)).stored_bytes == alone > 0
