"""A cache on a file system of 1.5 MB, under memories that are larger: git meets a full disk as it does in the field."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from memrepo.settings import environment
from memrepo_worker.group import Agent
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.store.backends.local import LocalStore
from tests.support.writers import Writer, commit, create, files, writer

LARGE = Random(5).randbytes(5 * 1024 * 1024 // 2).hex()  # 5 MB


@pytest.fixture(autouse=True)
def as_root() -> None:
    assert os.geteuid() == 0, "make test-root needs root"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    processes, env = Processes(Counters()), {"PATH": environment()["PATH"]}
    processes.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(folder)], env=env, timeout_s=10)
    try:
        yield folder
    finally:
        processes.run(["umount", str(folder)], env=env, timeout_s=10)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    with writer(store, tmp_path / "large disk") as one:
        one.ask(create(large=LARGE, small="1"))
        for number in range(4):
            of(one, number)
            one.ask(create(medium=LARGE[: 1000 * 1024]).model_copy(update={"agent_id": f"idle-{number}"}))
    return store


def of(one: Writer, number: int) -> None:
    one.agent = Agent("acme", f"idle-{number}")


def test_what_does_not_fit_is_served_and_committed_to(
    store: LocalStore, small_disk: Path, tmp_path: Path
) -> None:
    with writer(store, small_disk / "cache") as one:
        assert one.texts() == {"large": LARGE, "small": "1"}
        made = one.ask(commit("second", request_id="request-once"))
        assert one.ask(commit("second", request_id="request-once")) == made
        assert one.messages() == ["Initial commit", "second"]
    with writer(store, tmp_path / "healthy") as healthy:
        assert healthy.messages() == ["Initial commit", "second"]
        assert healthy.texts() == {"large": LARGE, "small": "1", "second": "second"}


def test_ones_that_fit_singly_make_room_for_each_other(store: LocalStore, small_disk: Path) -> None:
    with writer(store, small_disk / "cache") as one:
        for number in range(4):
            of(one, number)
            wanted = one.service.cache.path_of(one.agent)
            assert wanted is None
            assert list(_files(one)) == [f"medium of idle-{number}"]
        assert one.counters.snapshot().get("cache.dropped", 0) > 0


def _files(one: Writer) -> Iterator[str]:
    request = files().model_copy(update={"agent_id": one.agent.agent_id})
    (found,) = one.group(request)
    return (f"{path} of {one.agent.agent_id}" for path in found)
