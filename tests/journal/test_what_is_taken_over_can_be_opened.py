"""A history that began elsewhere is published only as an entry that workers open, and what they may take they open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from memrepo.errors import InvalidRequestError
from memrepo.limits import MIB, Limits
from memrepo_worker.git.bounds import GitCaps
from memrepo_worker.git.command import Git
from memrepo_worker.migration.adoption import Adopter
from memrepo_worker.migration.legacy import LegacyLayoutError
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.processes import Stdin
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS
from tests.support.histories import Scribe
from tests.support.stock_git import git, stock_git
from tests.support.writers import AGENT, NOW_S, history, writer


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as running:
        yield running


def origin(folder: Path, log: bytes) -> Path:
    """Write a repository of one commit, beside whose objects lies one that nothing leads to."""
    scribe = Scribe()
    commit = scribe.commit({"log.txt": log})
    scribe.blob(Random(1).randbytes(3 * MIB))
    return scribe.write(folder, {"refs/heads/main": commit})


def leave_behind(store: MemoryStore, repository: Path) -> None:
    for file in repository.rglob("*"):
        if file.is_file():
            store.put(f"acme/agent-1/repo.git/{file.relative_to(repository)}", file.read_bytes(), ALWAYS)


def test_a_log_far_larger_than_its_entry_is_read_once_it_was_adopted(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    leave_behind(store, origin(tmp_path / "origin.git", b"step\n" * (15 * MIB)))

    Adopter(store, stock_git(), executor, lambda: NOW_S).adopt(AGENT)

    (entry,) = store.list("acme/agent-1/repo.git/journal/")
    assert len(store.get(entry.key).data) < MIB, "so few bytes of strangers would be held to 64 MiB"
    assert Transfer(store, stock_git(), executor, lambda: NOW_S, Limits()).verify(AGENT) == 1
    with writer(store, tmp_path / "cache") as one:
        assert len(one.ask(history())) == 1


def adopt(store: MemoryStore, git_: Git, executor: ThreadPoolExecutor, folder: Path) -> None:
    leave_behind(store, origin(folder / "origin.git", b"step\n"))
    Adopter(store, git_, executor, lambda: NOW_S).adopt(AGENT)


def import_(store: MemoryStore, git_: Git, executor: ThreadPoolExecutor, folder: Path) -> None:
    file = folder / "x.bundle"
    git(origin(folder / "origin.git", b"step\n"), "bundle", "create", "--quiet", str(file), "--all")
    Transfer(store, git_, executor, lambda: NOW_S, Limits()).import_(AGENT, file)


class GitOfANarrowWorker(Git):
    """Opens entries within bounds that are too small for any."""

    def index_pack(self, repo: Path, pack: Stdin) -> str:
        narrow = Git(self.processes, self.search_path, caps=GitCaps(allocation_bytes_max=1))
        return narrow.index_pack(repo, pack)


@pytest.mark.parametrize(("take", "error"), [(adopt, LegacyLayoutError), (import_, InvalidRequestError)])
def test_what_no_worker_could_open_is_refused_with_the_setting_and_not_published(
    take: Callable[[MemoryStore, Git, ThreadPoolExecutor, Path], None],
    error: type[Exception],
    store: MemoryStore,
    executor: ThreadPoolExecutor,
    tmp_path: Path,
) -> None:
    usual = stock_git()
    narrow = GitOfANarrowWorker(usual.processes, usual.search_path)

    with pytest.raises(error, match=r"no worker could open it.*MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX"):
        take(store, narrow, executor, tmp_path)

    assert not list(store.list("acme/agent-1/repo.git/journal/"))


@pytest.mark.parametrize(("take", "error"), [(adopt, LegacyLayoutError), (import_, InvalidRequestError)])
def test_what_is_larger_than_a_worker_reads_is_refused_with_the_setting_and_not_published(
    take: Callable[[MemoryStore, Git, ThreadPoolExecutor, Path], None],
    error: type[Exception],
    store: MemoryStore,
    executor: ThreadPoolExecutor,
    tmp_path: Path,
) -> None:
    small = replace(stock_git(), caps=GitCaps(entry_bytes_max=100))

    with pytest.raises(error, match=r"over MEMREPO_ENTRY_BYTES_MAX \(100\)"):
        take(store, small, executor, tmp_path)

    assert not list(store.list("acme/agent-1/repo.git/journal/"))
