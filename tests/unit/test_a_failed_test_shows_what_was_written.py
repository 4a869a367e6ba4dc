"""The report of a test that failed ends with what was written to logs while it ran."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.last_words import CHARS_MAX, FILES_MAX, last_words

BEGAN_S = 1_000_000.0


def write(path: Path, text: str, at_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at_s, at_s))


def test_what_was_written_since_the_test_began_is_shown_the_latest_last(tmp_path: Path) -> None:
    write(tmp_path / "worker" / "w0.log", "the cause", BEGAN_S + 2)
    write(tmp_path / "stderr", "a word", BEGAN_S + 1)
    write(tmp_path / "earlier" / "w0.log", "of another test", BEGAN_S - 60)
    write(tmp_path / "store" / "pack", "no words", BEGAN_S + 3)
    write(tmp_path / "stdout", "", BEGAN_S + 3)

    assert last_words(tmp_path, BEGAN_S) == [("stderr", "a word"), ("worker/w0.log", "the cause")]


def test_of_much_the_end_is_shown(tmp_path: Path) -> None:
    for number in range(FILES_MAX + 1):
        write(tmp_path / f"{number:02d}.log", "x" * CHARS_MAX + f"end {number}", BEGAN_S + number)

    shown = last_words(tmp_path, BEGAN_S)

    assert [name for name, _ in shown] == [f"{number:02d}.log" for number in range(1, FILES_MAX + 1)]
    assert all(len(end) == CHARS_MAX for _, end in shown)
    assert shown[-1][1].endswith(f"end {FILES_MAX}")
