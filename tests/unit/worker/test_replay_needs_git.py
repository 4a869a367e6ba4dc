"""A machine without git is told as what it is by ``memrepo replay``, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from memrepo.cli.ending import MachineError
from memrepo_worker.cli.replay import replay


def test_without_git_a_replay_ends_as_trouble_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MEMREPO_BROKER_URL", "redis://127.0.0.1:1/0")

    ended = CliRunner().invoke(replay, [str(tmp_path), "--agent", "agent-1"])

    assert isinstance(ended.exception, MachineError)
    assert "git" in str(ended.exception)
