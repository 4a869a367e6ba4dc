"""``memrepo store verify`` names what memrepo did not write, and counts nothing of it as the memory's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import ALWAYS, ListedObject, UnavailableError
from tests.damage.conftest import Run
from tests.damage.journals import ENTRIES, Journal, entry, put
from tests.support.writers import AGENT

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.mark.parametrize(
    ("stray", "kind", "of", "told"),
    [
        (10**19, "number", 10**19, "no object can have that number"),
        (10**7, "number", 10**7, f"entry {ENTRIES + 1} would be the next, and is not there"),
        (9_000, "missing", ENTRIES + 1, f"(remove {LAYOUT.entry(9_000)}, if memrepo did not write it)"),
    ],
)
def test_a_stray_entry_is_named_and_only_real_ones_are_counted(
    sound: Journal, store: LocalStore, run: Run, stray: int, kind: str, of: int, told: str
) -> None:
    put(store, AGENT, {**sound, entry(stray): sound[entry(1)]})

    code, output, _ = run("verify", AGENT.org_id, AGENT.agent_id, "--json")

    found = json.loads(output)
    assert code == 1
    assert (found["damage"][0]["key"], found["damage"][0]["kind"]) == (LAYOUT.entry(of), kind)
    assert told in found["damage"][0]["detail"]
    assert found["entries"] == ENTRIES + (kind == "missing")
    assert found["commits"] is None, "how many there are nobody knows before it is mended"


@pytest.fixture
def beside(sound: Journal, store: LocalStore, tmp_path: Path) -> LocalStore:
    """A sound memory with files beside it, some with names that a key can have."""
    put(store, AGENT, sound)
    for name in (
        "agent-1/repo.git/NOTES.txt",
        "agent-1/repo.git/notes.txt",
        "agent-1/plan.txt",
        "agent-1/PLAN.txt",
    ):
        (tmp_path / "store" / AGENT.org_id / name).write_bytes(b"12345")
    (tmp_path / "store" / "README").write_bytes(b"12345")
    return store


def test_what_lies_beside_one_memory_is_told_with_it_whatever_its_name(beside: LocalStore, run: Run) -> None:
    code, output, warnings = run("verify", AGENT.org_id, AGENT.agent_id)

    assert (code, output) == (0, f"{AGENT}: 15 commits in 15 entries, sound\n")
    assert warnings.startswith(f"WARNING: {AGENT}: 4 objects of 20 bytes not written by memrepo: ")
    assert json.loads(run("verify", AGENT.org_id, AGENT.agent_id, "--json")[1])["foreign"]["count"] == 4


class BreaksOnce(StoreDecorator):
    """A bucket whose first listing of what lies in an agent's folder breaks off."""

    is_broken = False

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        if prefix == "acme/agent-1/" and not self.is_broken:
            self.is_broken = True
            raise UnavailableError("cut")
        yield from super().list(prefix, start_after)


def test_a_listing_that_breaks_is_begun_anew(
    sound: Journal, store: LocalStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, AGENT, sound)
    store.put("acme/agent-1/plan.txt", b"12345", ALWAYS)
    breaking = BreaksOnce(store)
    monkeypatch.setattr("memrepo_worker.cli.store.tools.open_store", lambda _, **__: breaking)

    code, output, warnings = run("verify", AGENT.org_id, AGENT.agent_id)

    assert breaking.is_broken
    assert (code, output) == (0, f"{AGENT}: 15 commits in 15 entries, sound\n")
    assert warnings.startswith(f"WARNING: {AGENT}: 1 object of 5 bytes not written by memrepo: ")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_of_all_memories_what_lies_beside_them_is_told_last(
    beside: LocalStore, run: Run, form: tuple[str, ...]
) -> None:
    code, output, warnings = run("verify", "--all", *form)

    assert code == 0
    last = "WARNING: beside the memories: 3 objects of 15 bytes not written by memrepo: "
    assert warnings.splitlines()[-1].startswith(last)
    if form:
        assert json.loads(output)["foreign"]["count"] == 2
    else:
        assert output == ""
        assert warnings.startswith(f"WARNING: {AGENT}: 2 objects of 10 bytes not written by memrepo: ")


def test_where_more_follows_than_is_missing_nobody_is_told_to_remove_it(
    sound: Journal, store: LocalStore, run: Run
) -> None:
    put(store, AGENT, sound)
    store.delete([LAYOUT.entry(3), LAYOUT.entry(4)])

    assert run("verify", AGENT.org_id, AGENT.agent_id)[1] == (
        f"{LAYOUT.entry(3)}: missing: entries 3 to 4 are not there, and entry 5 is\n"
    )
