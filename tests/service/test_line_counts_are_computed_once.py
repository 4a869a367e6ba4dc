"""The lines of a commit are counted once, and where that would take too much work the result says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from memrepo_worker.git import compare
from memrepo_worker.repos.line_counts import LineCounts
from memrepo_worker.store.backends.local import LocalStore
from tests.support.writers import Writer, commit, create, history, writer

LINES = [f"{number}\n" for number in range(50_000)]


def shuffled(seed: int) -> str:
    return "".join(Random(seed).sample(LINES, len(LINES)))


def comparisons(worker: Writer) -> int:
    return worker.counters.snapshot().get("process.started", 0)


@pytest.fixture
def edited(one: Writer) -> Writer:
    """A memory with a commit whose lines a process had to compare."""
    one.ask(create(a=shuffled(1)))
    one.ask(commit("edited", {"a": shuffled(2)}))
    return one


def test_histories_compare_nothing_that_was_compared_for_the_commits_result(edited: Writer) -> None:
    before = comparisons(edited)

    counts = [edited.ask(history())[0].additions for _ in range(2)]

    assert comparisons(edited) == before
    assert counts[0] == counts[1] > 0


def test_counts_outlive_the_worker(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(a=shuffled(1)))
        made = one.ask(commit("edited", {"a": shuffled(2)}))
    with writer(store, tmp_path / "cache") as again:
        counts = again.ask(history())[0]

        assert (counts.additions, counts.deletions) == (made.additions, made.deletions)
        assert comparisons(again) <= 1, "only git's version was asked for"


SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "cut": lambda data: data[:-20],
    "zeroed": lambda data: bytes(len(data)),
    "flipped": lambda data: bytes(byte ^ 1 for byte in data),
    "another's number": lambda data: data.replace(b" 1 1 ", b" 1 2 "),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_a_file_of_counts_that_is_damaged_changes_no_answer(
    store: LocalStore, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(a="1\n"))
        one.ask(commit("edited", {"a": "2\n"}))
    (kept,) = (tmp_path / "cache").rglob("line-counts")
    kept.write_bytes(spoil(kept.read_bytes()))

    with writer(store, tmp_path / "cache") as again:
        newest, oldest = again.ask(history())

    assert (newest.additions, newest.deletions, oldest.additions) == (1, 1, 1)


def test_the_file_of_counts_is_read_by_nobody_else(tmp_path: Path) -> None:
    counts = LineCounts(tmp_path)
    counts.keep("a" * 40, (1, 2, True))
    counts.save()

    assert (tmp_path / "line-counts").stat().st_mode & 0o777 == 0o600
    assert LineCounts(tmp_path).find("a" * 40) == (1, 2, True)


@pytest.fixture
def bounded(store: LocalStore, tmp_path: Path) -> Iterator[Writer]:
    with writer(store, tmp_path / "cache", compared_bytes_max=100_000) as one:
        yield one


def test_what_differs_too_much_counts_all_lines_and_says_so(bounded: Writer) -> None:
    bounded.ask(create(a=shuffled(1)))
    before = comparisons(bounded)

    made = bounded.ask(commit("edited", {"a": shuffled(2)}))
    told = bounded.ask(history())[0]

    assert (made.additions, made.deletions, made.counts_exact) == (len(LINES), len(LINES), False)
    assert (told.additions, told.counts_exact) == (len(LINES), False)
    assert comparisons(bounded) == before


def test_what_differs_too_much_is_found_out_once_and_again_where_the_bound_may_be_another(
    bounded: Writer, store: LocalStore, tmp_path: Path
) -> None:
    bounded.ask(create(a=shuffled(1)))
    bounded.ask(commit("edited", {"a": shuffled(2)}))
    found = bounded.counters.snapshot()["bounds.compared_bytes"]

    told = [bounded.ask(history())[0] for _ in range(3)]

    assert {(each.additions, each.counts_exact) for each in told} == {(len(LINES), False)}
    assert bounded.counters.snapshot()["bounds.compared_bytes"] == found
    bounded.service.close()
    with writer(store, tmp_path / "cache") as again:
        assert again.ask(history())[0].counts_exact


def test_a_large_file_in_which_little_differs_is_counted_exactly(bounded: Writer) -> None:
    text = shuffled(1)
    bounded.ask(create(a=text))

    made = bounded.ask(commit("edited", {"a": f"{text}one more\n"}))

    assert (made.additions, made.deletions, made.counts_exact) == (1, 0, True)


def test_a_new_file_is_counted_without_a_comparison_and_so_is_one_that_goes(
    one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.ask(create())
    before, compared = comparisons(one), list[int]()
    monkeypatch.setattr(compare, "compare", lambda old, new: compared.append(len(old) + len(new)))

    added = one.ask(commit("added", {"a": "\n" * 4_000_000}))
    removed = one.ask(commit("removed", {"a": None}))

    assert (added.additions, removed.deletions) == (4_000_000, 4_000_000)
    assert (added.counts_exact, removed.counts_exact) == (True, True)
    assert comparisons(one) == before
    assert compared == [], "nor in this process, which would keep all others waiting"


def test_the_file_stays_small_however_often_what_was_forgotten_is_counted_again(tmp_path: Path) -> None:
    counts = LineCounts(tmp_path)
    shas = [f"{number:040x}" for number in range(12_000)]  # more than are kept
    for _ in range(16):
        for sha in shas:
            if counts.find(sha) is None:
                counts.keep(sha, (1, 2, True))
        counts.save()

    (file,) = tmp_path.iterdir()
    assert file.stat().st_size <= 6 * 1024 * 1024
    assert LineCounts(tmp_path).find(shas[-1]) == (1, 2, True)


def test_what_was_forgotten_before_it_was_saved_takes_no_memory(tmp_path: Path) -> None:
    counts = LineCounts(tmp_path)
    for number in range(30_000):
        counts.keep(f"{number:040x}", (1, 2, True))

    assert len(counts._unsaved) == 10_000
