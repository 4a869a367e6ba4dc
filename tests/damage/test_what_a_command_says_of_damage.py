"""What the commands of a store say of a damaged memory: which it is, where, and which command names what is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from tests.damage.conftest import Run
from tests.damage.journals import BASE, SEGMENT, Journal, entry, put
from tests.support.folding import small_runs
from tests.support.writers import AGENT

PREFIX = Layout.of(AGENT.org_id, AGENT.agent_id).prefix
NAMED_BY = "run memrepo store verify acme agent-1, which names what is damaged"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.mark.parametrize("size", [0, 7, 60])
def test_of_an_entry_that_was_cut_off_it_is_said_that_it_was(
    sound: Journal, store: LocalStore, run: Run, size: int
) -> None:
    put(store, AGENT, {**sound, entry(13): sound[entry(13)][:size]})

    told = run("verify", AGENT.org_id, AGENT.agent_id)[1]

    if size:
        assert (
            f"{entry(13)}: header: entry 13 is no bundle: it was cut off: it ends after {size} bytes" in told
        )
    else:
        assert f"{entry(13)}: marker: it has no bytes, and no delete lies above it" in told


@pytest.mark.parametrize(
    "command", [("export", "{folder}/out.bundle"), ("import", "{folder}/in.bundle"), ("fold",)]
)
@pytest.mark.parametrize("how", ["cut", "missing"])
def test_a_command_that_ends_at_damage_names_memory_and_key_and_who_names_the_rest(
    sound: Journal, store: LocalStore, tmp_path: Path, run: Run, command: tuple[str, ...], how: str
) -> None:
    damaged = {name: data for name, data in sound.items() if name not in (BASE, SEGMENT)}
    data = damaged.pop(entry(5))
    put(store, AGENT, damaged if how == "missing" else {**damaged, entry(5): data[:60]})
    (tmp_path / "in.bundle").write_bytes(b"not looked at")
    verb, *files = (each.format(folder=tmp_path) for each in command)

    with small_runs():
        code, _, errors = run(verb, AGENT.org_id, AGENT.agent_id, *files, "--json")

    error = json.loads(errors.splitlines()[-1])["error"]
    assert (code, error["type"]) == (1, "MemoryDamagedError")
    assert error["message"].startswith(f"{AGENT} cannot be read: ")
    assert f"{PREFIX}{entry(5)}" in error["message"]
    assert error["message"].endswith(NAMED_BY)


def test_a_fold_over_a_base_that_was_cut_says_what_to_do(sound: Journal, store: LocalStore, run: Run) -> None:
    put(
        store,
        AGENT,
        {**{name: data for name, data in sound.items() if name != SEGMENT}, BASE: sound[BASE][:-60]},
    )

    with small_runs():
        code, _, errors = run("fold", AGENT.org_id, AGENT.agent_id)

    assert code == 1
    assert f"{PREFIX}{BASE}" in errors
    assert "remove it and fold again" in errors
    assert errors.rstrip().endswith(NAMED_BY)


def test_a_fold_that_reads_nothing_does_not_seem_to_have_found_all_whole(
    sound: Journal, store: LocalStore, run: Run
) -> None:
    put(store, AGENT, {**sound, BASE: sound[BASE][:-60]})

    with small_runs():
        code, told, _ = run("fold", AGENT.org_id, AGENT.agent_id)

    assert code == 0
    assert told == (
        f"{AGENT}: 12 of 15 entries joined, 0 objects made (0 bytes), 0 removed; what was there was not read: memrepo "
        "store verify acme agent-1 does that\n"
    )


def test_one_agent_is_no_agents(sound: Journal, store: LocalStore, run: Run) -> None:
    put(store, AGENT, sound)

    assert run("du")[1].splitlines()[-1].endswith("  total (1 agent)")
