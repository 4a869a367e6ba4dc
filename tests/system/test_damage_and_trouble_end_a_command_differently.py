"""Which exit code of ``memrepo store`` says that a memory is damaged, and which that it was not read."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from memrepo.cli.main import main
from memrepo_worker.git.command import GitOverBoundsError, GitUnusableError
from memrepo_worker.inspection.verifying import Verifier
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import ALWAYS, RefusedError, UnavailableError
from memrepo_worker.upkeep.folding import Folder
from tests.support.ports import LOOPBACK, closed_port
from tests.support.writers import AGENT, commit, writer

DAMAGED, TROUBLE = 1, 5
ONE = ["verify", AGENT.org_id, AGENT.agent_id]
ALL = ["verify", "--all"]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
TROUBLES: dict[str, tuple[Exception, str]] = {
    "a full disk": (FULL, "MachineError"),
    "git that is gone": (GitUnusableError("git cannot be started"), "MachineError"),
    "git over its bounds": (GitOverBoundsError("raise a setting"), "MachineError"),
    "a store that refuses": (RefusedError("access is denied"), "StoreUnavailableError"),
    "a store that is away": (UnavailableError("nobody answers"), "StoreUnavailableError"),
}

Ended = Callable[..., tuple[int, str]]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store with one memory, of an entry that may be folded soon."""
    store = LocalStore(tmp_path / "store")
    with writer(store, tmp_path / "writers") as each:
        each.ask(commit("first", create_repo_if_missing=True))
    return store


@pytest.fixture
def ended(store: LocalStore, tmp_path: Path) -> Ended:
    """Run ``memrepo store … --json`` in this process; return its exit code, and the kind of the error that it tells."""

    def run(*arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        here = {
            "MEMREPO_BROKER_URL": f"redis://{LOOPBACK}:{closed_port()}/0",
            "MEMREPO_STORE_URL": store.name,
            "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
        }
        told = CliRunner(env={**here, **(env or {})}).invoke(main, ["store", *arguments, "--json"])
        assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
        return told.exit_code, json.loads(told.stderr)["error"]["type"] if told.exit_code else ""

    return run


def damage(store: LocalStore) -> None:
    entry = next(item.key for item in store.list(f"{AGENT}/repo.git/journal/"))
    store.put(entry, store.get(entry).data[:-1] + b"?", ALWAYS)


def meet(monkeypatch: pytest.MonkeyPatch, what: type[object], verb: str, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(what, verb, fail)


@pytest.mark.parametrize("command", [ONE, ALL])
def test_what_is_sound_ends_with_0_and_what_is_damaged_with_1(
    ended: Ended, store: LocalStore, command: list[str]
) -> None:
    assert ended(*command) == (0, "")
    damage(store)
    assert ended(*command) == (DAMAGED, "MemoryDamagedError")


@pytest.mark.parametrize("command", [ONE, ALL])
def test_what_memrepo_did_not_write_is_told_and_is_no_damage(
    ended: Ended, store: LocalStore, command: list[str], tmp_path: Path
) -> None:
    for number in range(5):
        store.put(f"{AGENT}/repo.git/base/copy {number}", b"x" * 1000, ALWAYS)

    assert ended(*command) == (0, "")
    env = {"MEMREPO_STORE_URL": store.name, "MEMREPO_CACHE_DIR": str(tmp_path / "cache")}
    told = CliRunner(env=env).invoke(main, ["store", *command])
    first = ", ".join(f"{AGENT}/repo.git/base/copy {number}" for number in range(3))
    assert (
        f"WARNING: {AGENT}: 5 objects of 5,000 bytes not written by memrepo: {first} and 2 more"
        in told.stderr
    )


@pytest.mark.parametrize("command", [ONE, ALL])
@pytest.mark.parametrize("name", TROUBLES)
def test_what_could_not_be_read_ends_with_5(
    ended: Ended, command: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, kind = TROUBLES[name]
    meet(monkeypatch, Verifier, "verify", error)

    assert ended(*command) == (TROUBLE, kind)


@pytest.mark.parametrize("command", [ONE, ALL])
def test_what_keeps_a_command_from_beginning_ends_with_5(
    ended: Ended, command: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()

    assert ended(*command, env={"PATH": str(tmp_path)}) == (TROUBLE, "MachineError")
    assert ended(*command, env={"MEMREPO_CACHE_DIR": str(file)})[0] == TROUBLE
    assert ended(*command, env={"MEMREPO_STORE_URL": (tmp_path / "none").as_uri()})[0] == TROUBLE


def test_damage_is_told_where_others_could_not_be_read(
    ended: Ended, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(store)
    store.put("acme/zz/repo.git/journal/00000000000000000001.bundle", b"an entry", ALWAYS)
    verify = Verifier.verify

    def verify_one(verifier: Verifier, agent: object) -> object:
        if agent != AGENT:
            raise FULL
        return verify(verifier, AGENT)

    monkeypatch.setattr(Verifier, "verify", verify_one)

    assert ended(*ALL) == (DAMAGED, "MemoryDamagedError")


def test_a_fold_of_all_ends_with_what_kept_all_that_failed(
    ended: Ended, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(store, tmp_path / "writers") as each:
        for number in range(64):
            each.ask(commit(f"step {number}"))

    for name, (error, kind) in TROUBLES.items():
        meet(monkeypatch, Folder, "fold", error)
        is_of_a_memory = name == "git over its bounds"
        assert ended("fold", "--all") == ((1, "MemoryRepoError") if is_of_a_memory else (TROUBLE, kind)), name
