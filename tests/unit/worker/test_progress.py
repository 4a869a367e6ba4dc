"""Where a command is no terminal's, how far it is is told in lines now and then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memrepo_worker.cli import progress, replay


def test_a_replay_says_how_many_commits_are_done_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = [0.0]
    monkeypatch.setattr(
        progress.Progress.__init__, "__kwdefaults__", {"is_terminal": None, "clock": lambda: now_s[0]}
    )

    def commits() -> Iterator[int]:
        for number in range(100):
            now_s[0] += 1.0
            yield number

    assert list(replay._shown("replaying", commits(), 5_000, show=True)) == list(range(100))
    assert capsys.readouterr().err.splitlines() == [
        f"replaying: {done} of 5,000 commits" for done in (30, 60, 90)
    ]
    assert list(replay._shown("replaying", commits(), 100, show=False))
    assert capsys.readouterr().err == ""
