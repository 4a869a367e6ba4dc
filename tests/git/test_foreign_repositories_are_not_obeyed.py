"""Whatever a repository's configuration names, reading it runs nothing and fetches nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from memrepo_worker.git.command import Git, GitError, ObjectFolder
from memrepo_worker.git.foreign import find_repository
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_pack
from memrepo_worker.replay.source import SourceRepository
from tests.support.stock_git import stock_git
from tests.support.traps import ATTRIBUTES, TRAPS, Trap


def read_all(folder: Path, git: Git) -> None:
    """Read what a replay reads."""
    source = SourceRepository.open(folder, git)
    history = source.history()
    source.blobs({change.entry.sha for commit in history for change in commit.changes if change.entry})
    for commit in history:
        source.canonical_tree(commit.tree_sha, ())


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_a_program_that_git_would_run_is_not_run(trap: Trap, tmp_path: Path) -> None:
    armed = trap.arm(tmp_path / "repository")
    trap.springs(armed)
    assert armed.sprung, "stock git does not obey this: the trap proves nothing"

    if trap.lacks_a_tree:
        with pytest.raises(GitError, match="cannot be read whole"):
            read_all(armed.folder, stock_git())
    else:
        read_all(armed.folder, stock_git())

    assert not armed.sprung


def test_git_reads_no_configuration_beside_the_objects_that_it_is_led_to(tmp_path: Path) -> None:
    armed = TRAPS[0].arm(tmp_path / "repository")
    objects = find_repository(armed.folder).objects
    own = stock_git().run(["config", "--list", "--file", str(objects.path.parent / "config")]).decode()

    read = stock_git().run(["config", "--list"], repo=objects).decode()

    foreign = [line for line in own.splitlines() if str(tmp_path) in line]
    assert foreign, "there is a program in it"
    assert not {*foreign} & {*read.splitlines()}


def test_git_may_fetch_from_nowhere(tmp_path: Path) -> None:
    armed = TRAPS[0].arm(tmp_path / "repository")
    objects = find_repository(armed.folder).objects
    workers = Git(stock_git().processes, stock_git().search_path)

    with pytest.raises(GitError, match="transport 'file' not allowed"):
        workers.run(["ls-remote", str(armed.folder)], repo=objects)


def test_a_repository_of_another_user_is_read_and_not_obeyed(tmp_path: Path) -> None:
    """Git's own tests have this variable: every repository that git runs in belongs to another user then."""
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    real = stock_git()
    wrapper.write_text(
        f'#!/bin/sh\nPATH={real.search_path}\nexport GIT_TEST_ASSUME_DIFFERENT_OWNER=1\nexec git "$@"\n'
    )
    wrapper.chmod(0o755)
    armed = TRAPS[0].arm(tmp_path / "repository")
    git = replace(real, search_path=f"{wrapper.parent}:{real.search_path}")
    with pytest.raises(GitError, match=r"safe\.directory"):
        git.run(["-C", str(armed.folder), "log"])

    read_all(armed.folder, git)

    assert not armed.sprung


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_what_git_does_in_a_warm_repository_obeys_no_folder_that_was_tampered_with(
    trap: Trap, tmp_path: Path
) -> None:
    armed = trap.arm(tmp_path / "repository")
    git, repo = stock_git(), find_repository(armed.folder).objects.path.parent
    (repo / "info").mkdir()
    (repo / "info" / "attributes").write_bytes(ATTRIBUTES)
    zero, one = (object_id(GitObject(Kind.BLOB, data)) for data in (b"0\n", b"1\n"))

    with suppress(GitError):  # a tree is missing in some
        git.commits_touching(
            ObjectFolder(repo / "objects"), find_repository(armed.folder).head or "", "folder/b.md"
        )
    patch = git.diff_of_blobs(repo, zero, one)
    git.index_pack(repo, encode_pack({}).data)

    assert patch.endswith(b"-0\n+1\n")
    assert not armed.sprung
