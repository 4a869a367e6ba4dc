"""Where a pattern is in a text: the same lines, however the text is cut into pieces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrepo_worker.service.search import patterns
from memrepo_worker.service.search.patterns import Pattern, Regex, lines_with, pattern_of

PATTERNS = ["a", "^a", "a$", "^$", "^a*$", "b*", "[^a]", "a.b", "(a|bc)+$", "x|^", "a\\b"]


def found(pattern: Pattern, data: bytes) -> list[tuple[int, bytes]]:
    return [(line.number, data[line.start : line.end]) for line in lines_with(pattern, data, lambda: None)]


def line_by_line(text: str, data: bytes) -> list[tuple[int, bytes]]:
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [(n, line) for n, line in enumerate(lines, start=1) if re.search(text.encode(), line)]


@given(
    data=st.text(alphabet="abc\n", max_size=60),
    text=st.sampled_from(PATTERNS),
    piece_bytes=st.sampled_from([1, 2, 3, 7, 1000]),
)
def test_the_size_of_the_pieces_changes_nothing(data: str, text: str, piece_bytes: int) -> None:
    pattern = Regex(text, literal=False, ignore_case=False)
    pattern.piece_bytes = piece_bytes

    assert found(pattern, data.encode()) == line_by_line(text, data.encode())


@given(data=st.text(alphabet="ab\n", max_size=60), text=st.sampled_from(["a", "ab", "aba", "."]))
def test_a_text_is_found_in_its_lines(data: str, text: str) -> None:
    assert found(pattern_of(text, regex=False, ignore_case=False), data.encode()) == line_by_line(
        re.escape(text), data.encode()
    )


def test_a_line_break_is_part_of_no_match() -> None:
    for text in ("a\\nb", "a\\sb", "a[^x]b", "(?s)a.b", "a\\s+b"):
        assert found(Regex(text, literal=False, ignore_case=False), b"a\nb\na b\n")[:1] in ([], [(3, b"a b")])


def test_of_a_long_line_a_regular_expression_sees_the_beginning_and_a_text_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Regex, "line_bytes_max", 100)
    data = b"x" * 90 + b"near" + b"x" * 100 + b"far\nnear far\n"
    near, far = (Regex(text, literal=False, ignore_case=False) for text in ("near", "far"))
    near.piece_bytes = far.piece_bytes = 10

    assert [number for number, _ in found(near, data)] == [1, 2]
    assert [number for number, _ in found(far, data)] == [2]
    assert [number for number, _ in found(pattern_of("far", regex=False, ignore_case=False), data)] == [1, 2]


@pytest.mark.parametrize("text", ["x", "[ab]*a[ab]{900}c", "\\pL+"])
def test_no_piece_takes_more_steps_than_it_may(text: str) -> None:
    pattern = Regex(text, literal=False, ignore_case=False)
    sizes: list[int] = []
    find = pattern.find
    pattern.find = lambda data, start, end: (sizes.append(end - start), find(data, start, end))[1]  # type: ignore[method-assign,func-returns-value]

    found(pattern, b"12\n" * 1_000_000)

    assert max(sizes) <= pattern.piece_bytes <= patterns._STEPS_MAX
    assert sum(sizes) >= 2_900_000
