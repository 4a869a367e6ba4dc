"""Ten repositories in the shapes of public ones (notes, dotfiles, code): equal, or what was left out is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.replaying import replay, report
from tests.support.stock_git import git, restore
from tests.support.stories import STORIES
from tests.support.story import Story, runs
from tests.support.systems import System


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Return what the report says, but for figures that differ from run to run."""
    files = sorted((file["path"], file["commit"], file["reason"]) for file in found["left_out_files"])
    passing = ("agent", "head", "seconds", "commits_per_s", "requests")
    return {**{name: value for name, value in found.items() if name not in passing}, "left_out_files": files}


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_a_history_in_the_wild_is_replayed_whole(
    tell: Callable[[], Story], system: System, tmp_path: Path
) -> None:
    story, agent = tell(), tell.__name__.replace("_", "-")
    origin = story.write(tmp_path / "origin.git")

    found = report(replay(system, tmp_path, str(origin), "--agent", agent, "--json"))

    assert summary(found) == story.outcome()
    assert system.store_folder is not None
    stored = restore(system.store_folder / "replay" / agent / "repo.git", tmp_path / "restored.git")
    git(stored, "fsck", "--strict")
    trees = git(stored, "log", "--reverse", "--format=%T", "main").decode().split()
    assert runs(trees)[-1:] == story.kept_trees[-1:]
    if found["requests"] == found["commits"]:
        assert trees == runs(story.kept_trees)
