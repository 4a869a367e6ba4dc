"""What lies in the cache folder may fail, be spoilt, lost or old: no answer depends on it, and it stays small."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from memrepo_worker.bounds import CacheLimits
from memrepo_worker.group import Agent, Lease
from memrepo_worker.repos import warm as warm_module
from memrepo_worker.repos.cache import RepoCache
from memrepo_worker.repos.state import RepoState, sha256_of
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import UnavailableError
from tests.support.stock_git import restore, stock_git
from tests.support.writers import Writer, commit, create, files, writer

FOLDER = "acme/agent-1/repo.git"


def test_a_full_disk_under_the_cache_fails_no_request(one: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    one.ask(create())
    replace = warm_module._replace

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(warm_module, "_replace", full)
    results = [one.ask(commit(f"step {number}")) for number in range(70)]
    monkeypatch.setattr(warm_module, "_replace", replace)

    assert all(result.created for result in results)
    assert one.messages() == ["Initial commit", *(f"step {number}" for number in range(70))]


def test_a_broken_disk_while_opening_is_an_outage_and_not_a_verdict(
    one: Writer, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.ask(create())
    with writer(store, tmp_path / "two") as two:

        def broken(*_args: object) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr("memrepo_worker.repos.warm.WarmRepo.empty", broken)
            with pytest.raises(UnavailableError, match="machine is in trouble"):
                two.ask(commit("later"))

        assert two.ask(commit("later")).created


def spoil_a_digit(state: bytes) -> bytes:
    position = state.index(b'"refs/heads/side": "') + 20
    return (
        state[:position] + (b"0" if state[position : position + 1] != b"0" else b"1") + state[position + 1 :]
    )


def give_other_types(state: bytes) -> bytes:
    body = json.dumps({**json.loads(state.partition(b"\n")[2]), "refs": 7, "ledger": []}).encode()
    return sha256_of(body).encode() + b"\n" + body


def cut(state: bytes) -> bytes:
    return state[: len(state) // 2]


@pytest.mark.parametrize("spoil", [spoil_a_digit, give_other_types, cut, lambda _: b""])
def test_a_spoilt_state_in_the_cache_leaves_the_journal_readable(
    spoil: Callable[[bytes], bytes], store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        one.ask(commit("aside", branch="side"))
    (path,) = (tmp_path / "one").rglob("memrepo.json")
    path.write_bytes(spoil(path.read_bytes()))

    with writer(store, tmp_path / "one") as again, writer(store, tmp_path / "two") as other:
        assert again.ask(commit("on main")).created
        assert other.messages() == ["Initial commit", "on main"]
    restore(tmp_path / "store" / FOLDER, tmp_path / "restored.git")


def test_a_state_that_is_read_back_is_the_one_that_was_written() -> None:
    state = RepoState(3, {"refs/heads/main": "a" * 40}, tip_sha256="b", seal=1)

    again = RepoState.decode(state.encode())

    assert (again.seq, again.refs, again.tip_sha256, again.seal) == (3, state.refs, "b", 1)


def test_the_cache_folder_keeps_to_its_bound_also_over_a_restart(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        cache = one.service.cache
        cache.accounts.limits = CacheLimits(repos_max=3)
        for number in range(8):
            one.agent = Agent("acme", f"agent-{number}")
            one.ask(create().model_copy(update={"agent_id": one.agent.agent_id}))
        assert len(cache) == 3
    assert len(list((tmp_path / "one").rglob("*.git"))) == 3

    counters = one.counters
    smaller = RepoCache(tmp_path / "one", store.name, stock_git(), counters, CacheLimits(repos_max=1))
    smaller.close()
    assert len(list((tmp_path / "one").rglob("*.git"))) == 1


def test_reading_saves_no_state_until_the_worker_ends(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
    with writer(store, tmp_path / "two") as two:
        two.ask(files())
        assert not list((tmp_path / "two").rglob("memrepo.json"))
    assert list((tmp_path / "two").rglob("memrepo.json")), "but a warm repository is kept over a restart"


def test_a_proof_ends_with_the_lease(one: Writer) -> None:
    one.ask(create())
    repo = one.warm()
    lease = Lease(one.lease_token, 100.0)

    assert repo.is_current(lease, 99.0)
    assert not repo.is_current(lease, 100.0)
    assert not repo.is_current(Lease("another", math.inf), 0.0)
