"""Large contents are compared by a process that has a limit of work, so that no other thread waits for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from memrepo import append, insert, replace
from memrepo.wire.requests.edits import Edit
from memrepo_worker.bounds import CompareBounds
from memrepo_worker.git.compare import compare
from memrepo_worker.git.objects import GitObject, Kind, TreeEntry, object_id
from memrepo_worker.store.backends.local import LocalStore
from tests.support.git_in_trouble import GitInTrouble
from tests.support.writers import Writer, commit, create, writer


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Writer]:
    with writer(LocalStore(tmp_path / "store"), tmp_path / "one") as one:
        yield one


def test_a_large_comparison_is_made_by_a_process(one: Writer) -> None:
    rnd = Random(1)
    lines = [b"%d\n" % number for number in range(60_000)]
    contents = []
    for _ in range(2):
        rnd.shuffle(lines)
        contents.append(b"".join(lines))
    one.ask(create())
    one.ask(commit("before", {"big": contents[0].decode()}))
    started = one.counters.snapshot().get("process.started", 0)

    result = one.ask(commit("after", {"big": contents[1].decode()}))

    assert one.counters.snapshot()["process.started"] == started + 1, "compared in this process"
    assert result.additions == result.deletions > 0


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (append("log", "one more\n"), (1, 0)),
        (append("log", "one\nand another"), (2, 0)),
        (insert("log", 30_000, "between\n"), (1, 0)),
        (replace("log", "line 30000\n", "another line\n"), (1, 1)),
        (replace("log", "line 30000\nline 30001\n", ""), (0, 2)),
    ],
)
def test_an_edit_at_one_place_of_a_large_file_is_counted_without_a_process(
    one: Writer, change: Edit, counts: tuple[int, int]
) -> None:
    one.ask(create(log="".join(f"line {number}\n" for number in range(60_000))))
    started = one.counters.snapshot().get("process.started", 0)

    made = one.ask(commit("edit").model_copy(update={"changes": (change,)}))

    assert (made.additions, made.deletions) == counts
    assert one.counters.snapshot().get("process.started", 0) == started


@pytest.mark.parametrize(
    ("lines", "begin", "processes"),
    [
        (CompareBounds.lines_max // 2, "", 0),
        (CompareBounds.lines_max // 2 + 1, "", 1),
        (CompareBounds.lines_max // 2, "x\n" * CompareBounds.lines_max, 0),
    ],
    ids=["few", "many", "few that differ"],
)
def test_many_lines_are_compared_by_a_process_however_few_bytes_they_are(
    one: Writer, lines: int, begin: str, processes: int
) -> None:
    """Lines of one letter take forty times as long as their bytes say, and Python's lock is kept meanwhile."""
    rnd = Random(1)
    old, new = ("".join(f"{letter}\n" for letter in rnd.choices(both, k=lines)) for both in ("ab", "ac"))
    old, new = f"{begin}p\n{old[2:]}", f"{begin}q\n{new[2:]}"
    old, new = f"{old[:-2]}p\n", f"{new[:-2]}q\n"
    one.ask(create(big=old))
    started = one.counters.snapshot().get("process.started", 0)

    result = one.ask(commit("after", {"big": new}))

    assert one.counters.snapshot().get("process.started", 0) == started + processes
    counts = compare(old.encode(), new.encode())
    assert (result.additions, result.deletions) == (counts.additions, counts.deletions)


def test_a_comparison_that_takes_too_much_work_counts_all_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = GitInTrouble(tmp_path / "bin", str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(git.folder))
    with writer(LocalStore(tmp_path / "store"), tmp_path / "cache") as one:
        git.be_over_its_time()
        assert_all_lines_count(one)


def assert_all_lines_count(one: Writer) -> None:
    contents = [GitObject(Kind.BLOB, (b"%d\n" % number) * 60_000) for number in range(2)]
    one.ask(create(big=contents[0].data.decode()))
    one.ask(commit("next", {"big": contents[1].data.decode()}))
    repo = one.warm()

    compared = repo.compare(*(TreeEntry("100644", object_id(item)) for item in contents))

    assert (compared.additions, compared.deletions) == (60_000, 60_000)
