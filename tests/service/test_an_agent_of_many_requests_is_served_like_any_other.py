"""An agent that made five commits a second for two days: what it is told, and what its worker writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from memrepo.errors import InvalidRequestError
from memrepo_worker.journal.entry import encode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import COMMITTED, LedgerLine
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import ABSENT, Store
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, find, writer

COMMITS_PER_S = 5
ENTRIES, LINES = 40, 21_600 if os.environ.get("LONG") == "1" else 250
"""With LONG=1 they are the 864,000 of two days; else a hundredth, at the same rate."""


def settled(number: int, sha: str) -> LedgerLine:
    at_s = NOW_S - (ENTRIES * LINES - number) / COMMITS_PER_S
    return LedgerLine(f"earlier-{number:08d}", f"{number:032x}", COMMITTED, at_s, sha)


def make_many(store: Store, one: Writer) -> None:
    """Append entries that settled very many requests, as another worker would have."""
    state = one.warm().state
    sha = state.refs["refs/heads/main"]
    layout = Layout.of(AGENT.org_id, AGENT.agent_id)
    for index in range(ENTRIES):
        lines = [settled(number, sha) for number in range(index * LINES, (index + 1) * LINES)]
        store.put(layout.entry(state.seq + 1 + index), encode_entry({}, state.refs, [sha], lines), ABSENT)


@pytest.fixture
def one(store: LocalStore, one: Writer) -> Writer:
    one.ask(create())
    make_many(store, one)
    one.new_lease()
    return one


def test_every_request_is_known_and_no_other(one: Writer) -> None:
    first, last = settled(0, "0"), settled(ENTRIES * LINES - 1, "0")

    made = one.ask(commit("a new one"))

    assert made.created
    for known in (first, last):
        with pytest.raises(InvalidRequestError, match="was used for another request"):
            one.ask(commit("in disguise", request_id=known.request_id))
        assert one.ask(find(known.request_id)) is not None
    assert one.ask(find("never-sent")) is None


def test_what_is_written_while_it_goes_on_is_what_is_new(one: Writer) -> None:
    one.ask(commit("first"))
    one.warm().save()
    folder = one.warm().path
    before = sizes(folder)

    for number in range(70):
        one.ask(commit(f"step {number}"))

    grown = {path: size - before.get(path, 0) for path, size in sizes(folder).items()}
    assert sum(grown.values()) < 200_000
    assert (folder / "memrepo.json").stat().st_size < 10_000


def sizes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_a_worker_that_is_started_again_knows_them_from_its_cache(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(commit("first"))
    known = len(one.warm().ledger)
    one.service.close()

    with writer(store, tmp_path / "one") as again:
        made = again.ask(commit("after it"))
        assert again.counters.snapshot().get("repo.opened_cold", 0) == 0
        assert len(again.warm().ledger) == known + 1
        with pytest.raises(InvalidRequestError):
            again.ask(commit("in disguise", request_id=settled(7, "0").request_id))
        assert made.created


def test_a_memory_that_was_deleted_and_begun_anew_knows_them_still(one: Writer) -> None:
    one.ask(delete())
    one.ask(create())

    with pytest.raises(InvalidRequestError):
        one.ask(commit("in disguise", request_id=settled(7, "0").request_id))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for position in range(0, len(data), 16):
        data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_damage_to_its_files_is_healed_and_changes_no_answer(
    damage: Callable[[Path], None], one: Writer
) -> None:
    first = commit("first")
    made = one.ask(first)
    one.warm().save()
    for path in one.warm().path.glob("ledger-*"):
        damage(path)

    assert one.ask(first) == made
    with pytest.raises(InvalidRequestError):
        one.ask(commit("in disguise", request_id=settled(7, "0").request_id))
    assert one.counters.snapshot()["repo.healed"] == 1


def test_comparing_large_files_keeps_no_state_from_being_saved_and_no_line_from_being_forgotten(
    store: LocalStore, tmp_path: Path
) -> None:
    text = "a line of a file that git compares\n" * 4300
    with writer(store, tmp_path / "before") as before:
        before.ask(create(large=text))
        before.ask(commit("two days ago"))
    later_s = NOW_S + 49 * 3600
    with writer(store, tmp_path / "later", now_s=later_s) as later:
        for number in range(65):
            changed = f"{number}\n{text}{number}\n"  # at two places: else nothing is compared
            later.ask(commit(f"step {number}", {"large": changed}, enqueued_at=later_s))

        assert later.counters.snapshot()["process.started"] >= 65, "git has compared each time"
        assert (later.warm().path / "memrepo.json").exists()
        assert len(later.warm().ledger) == 65
