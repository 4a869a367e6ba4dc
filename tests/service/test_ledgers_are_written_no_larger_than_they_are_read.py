"""What requests are answered with stays in the ledger: none is written that a reader would not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from memrepo.errors import HeadMovedError, MergeConflictError
from memrepo_worker.bounds import LedgerBounds
from memrepo_worker.git.command import GitOverBoundsError
from memrepo_worker.journal.entry import ledger_bytes_max
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import LedgerLine, decode_lines, encode_lines
from memrepo_worker.store.backends.local import LocalStore
from tests.support.folding import fold, small_runs
from tests.support.writers import AGENT, Writer, commit, create, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
REQUESTS = 60
ENTRY_BYTES_MAX = 4096


def test_readers_take_the_largest_that_is_written() -> None:
    assert LedgerBounds.entry_bytes_max + LedgerBounds.line_bytes_max <= ledger_bytes_max(0)


@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}", "\0"])
def test_what_an_error_tells_is_cut_to_what_a_line_may_be(character: str) -> None:
    length = LedgerBounds.line_bytes_max
    error = MergeConflictError(character * length, {"conflicts": [character * length]})

    line = LedgerLine.of_error("request-1", "0" * 32, 1.0, error)

    written = encode_lines([line])
    assert len(written) <= LedgerBounds.line_bytes_max + 256
    (read,) = decode_lines(written)
    assert isinstance(read.error, MergeConflictError)
    assert read.error.message.startswith(character * 1000)


def refused_commits() -> list[object]:
    return [commit(f"late {number}", expected_head="f" * 40) for number in range(REQUESTS)]


def entries(store: LocalStore) -> int:
    return sum(1 for _ in store.list(LAYOUT.journal))


def test_a_group_whose_lines_are_more_than_one_entry_may_have_gets_several(
    store: LocalStore, one: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.ask(create(human="likes tea"))
    monkeypatch.setattr(LedgerBounds, "entry_bytes_max", ENTRY_BYTES_MAX)
    requests = refused_commits()

    outcomes = one.group(*requests)  # type: ignore[arg-type]

    assert [type(outcome) for outcome in outcomes] == [HeadMovedError] * REQUESTS
    lines = [line for line in one.warm().ledger if line.error is not None]
    assert [line.request_id for line in lines] == [request.request_id for request in requests]  # type: ignore[attr-defined]
    written = len(encode_lines(lines))
    assert entries(store) - 1 >= written // (ENTRY_BYTES_MAX + 1024)
    assert one.counters.snapshot()["ledger.entry_full"] >= 2
    with writer(store, tmp_path / "two") as two:
        assert [str(outcome) for outcome in two.group(*requests)] == list(map(str, outcomes))  # type: ignore[arg-type]


def test_entries_whose_ledgers_are_too_large_together_stay_entries(
    store: LocalStore, one: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.ask(create(human="likes tea"))
    for number in range(8):
        one.ask(commit(f"step {number}"))
    monkeypatch.setattr(LedgerBounds, "joined_bytes_max", 300)

    with small_runs(), pytest.raises(GitOverBoundsError, match="stay entries"):
        fold(store, tmp_path / "scratch")

    assert [*store.list(LAYOUT.bases), *store.list(LAYOUT.segments)] == []
    with writer(store, tmp_path / "two") as two:
        assert two.messages() == one.messages()
