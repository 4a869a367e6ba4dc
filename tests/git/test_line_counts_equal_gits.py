"""Additions and deletions, against ``git diff --numstat``."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from memrepo_worker.bounds import SharingBounds
from memrepo_worker.git.compare import (
    compare,
    compare_with_nothing,
    count_one_change,
    differing_bytes,
    parse_patch,
)
from tests.support.stock_git import empty_repository, git, stock_git

EDITS = 300


def random_text(rnd: random.Random, lines: int) -> list[bytes]:
    return [rnd.choice([b"tea", b"likes", b"", b"  x", b"}", b"caf\xc3\xa9"]) + b"\n" for _ in range(lines)]


def random_edit(rnd: random.Random) -> tuple[bytes, bytes]:
    old = random_text(rnd, rnd.randrange(60))
    new = list(old)
    for _ in range(rnd.randrange(12)):
        at = rnd.randrange(len(new) + 1)
        new[at : at + rnd.randrange(4)] = random_text(rnd, rnd.randrange(4))
    cut = rnd.random() < 0.2
    return b"".join(old), b"".join(new)[: -1 if cut else None]


def numstat(repo: Path, pairs: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Ask stock git about all pairs at once: two trees with a file each."""
    trees = []
    for side in (0, 1):
        lines = []
        for number, pair in enumerate(pairs):
            sha = git(repo, "hash-object", "-w", "--stdin", stdin=pair[side]).decode().strip()
            lines.append(f"100644 blob {sha}\tf{number:04d}\n")
        trees.append(git(repo, "mktree", stdin="".join(lines).encode()).decode().strip())
    out = git(repo, "diff-tree", "-r", "--numstat", *trees).decode()
    counts = {
        name: (added, removed) for added, removed, name in (line.split("\t") for line in out.splitlines())
    }
    return [counts.get(f"f{number:04d}", ("0", "0")) for number in range(len(pairs))]


def test_counts_of_random_edits_equal_stock_gits(tmp_path: Path) -> None:
    rnd = random.Random(7)
    pairs = [random_edit(rnd) for _ in range(EDITS)]

    stock = numstat(empty_repository(tmp_path / "repo.git"), pairs)

    ours = [compare(old, new) for old, new in pairs]
    assert [(str(count.additions), str(count.deletions)) for count in ours] == stock


@pytest.mark.parametrize("step_bytes", [1, 3, SharingBounds.piece_bytes])
def test_one_change_is_counted_as_stock_git_counts_it_without_being_compared(
    monkeypatch: pytest.MonkeyPatch, step_bytes: int
) -> None:
    monkeypatch.setattr(SharingBounds, "piece_bytes", step_bytes)
    rnd = random.Random(8)
    counted = 0
    for _ in range(3_000):
        old, new = random_edit(rnd) if rnd.random() < 0.2 else one_edit(rnd)
        found = count_one_change(old, new)
        if found is not None:
            counted += 1
            stock = compare(old, new)
            assert (found.additions, found.deletions) == (stock.additions, stock.deletions), (old, new)
    assert counted > 1_500


def one_edit(rnd: random.Random) -> tuple[bytes, bytes]:
    """Lines in or out at one place, of few kinds, so that they are like those beside them."""
    old = [rnd.choice([b"a\n", b"a\rb\n", b"b\n", b"\n"]) for _ in range(rnd.randrange(8))]
    new = list(old)
    at = rnd.randrange(len(new) + 1)
    new[at : at + rnd.randrange(3)] = rnd.choices([b"a\n", b"a\rb\n", b"b\n"], k=rnd.randrange(4))
    cuts = [-1 if rnd.random() < 0.1 else None for _ in range(2)]
    return b"".join(old)[: cuts[0]], b"".join(new)[: cuts[1]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (b"a", b"a\n"),
        (b"a\r\n", b"a\n"),
        (b"", b"no newline at the end"),
        (b"x\n" * 9000, b"x\n" * 9001),
        (b"\xff\xfe not utf-8\n", b"\xff\xfe changed\n"),
        (b"a" * 8000 + b"\0", b"NUL after the first 8000 bytes"),
    ],
)
def test_odd_texts_count_as_stock_git_counts_them(tmp_path: Path, old: bytes, new: bytes) -> None:
    (stock,) = numstat(empty_repository(tmp_path / "repo.git"), [(old, new)])

    ours = compare(old, new)
    if not old:
        assert compare_with_nothing(old, new) == ours

    assert (str(ours.additions), str(ours.deletions)) == stock


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"a", b"a\n", b"a\nb", b"\n\n", b"a\r\n\n", b"\xff\n-+\n\n", b"a\0b", b"-a\n+b\n" * 3],
)
def test_a_file_that_is_new_or_gone_is_the_patch_that_git_makes_of_it(text: bytes) -> None:
    assert compare_with_nothing(b"", text) == compare(b"", text)
    assert compare_with_nothing(text, b"") == compare(text, b"")


@pytest.mark.parametrize(
    ("old", "new", "differing"),
    [
        (b"abc", b"abc", 0),
        (b"", b"abc", 3),
        (b"a-c", b"a+c", 2),
        (b"aaa", b"aaaa", 1),
        (b"abab", b"ab", 2),
        (b"begin old end", b"begin a new end", 8),
    ],
)
def test_what_differs_is_between_what_both_begin_and_end_with(old: bytes, new: bytes, differing: int) -> None:
    assert differing_bytes(old, new) == differing_bytes(new, old) == differing


def test_a_binary_file_counts_no_lines_as_in_numstat(tmp_path: Path) -> None:
    pair = (b"a\n", b"a\0b\n")

    assert numstat(empty_repository(tmp_path / "repo.git"), [pair]) == [("-", "-")]
    counts = compare(*pair)
    assert (counts.additions, counts.deletions, counts.binary) == (0, 0, True)


def test_a_patch_printed_by_git_counts_as_the_comparison_in_process_does(tmp_path: Path) -> None:
    """Large contents are compared by a process instead: the two ways must agree."""
    rnd = random.Random(11)
    repo = empty_repository(tmp_path / "repo.git")
    for old, new in (random_edit(rnd) for _ in range(25)):
        shas = [git(repo, "hash-object", "-w", "--stdin", stdin=data).decode().strip() for data in (old, new)]
        by_process = parse_patch(stock_git().diff_of_blobs(repo, *shas))
        in_process = compare(old, new)
        assert (by_process.additions, by_process.deletions) == (in_process.additions, in_process.deletions)
