"""Git opens files of a warm copy by itself: where a named pipe lies in the place of one, no git is begun that waits.

The copy is thrown away instead and made anew from the journal; upkeep, which is one thread for all, goes on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from memrepo_worker.git.command import Git, GitError, ObjectFolder
from memrepo_worker.git.pack_files import link_packs
from memrepo_worker.processes import Processes
from memrepo_worker.repos.repacking import PACKS_MAX
from memrepo_worker.upkeep.owner import link_warm
from memrepo_worker.upkeep.repacking import Repacker
from memrepo_worker.upkeep.runner import Stop
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, Writer, commit, create, files, history

pytestmark = pytest.mark.timeout(60)

PLACES = ["pack/multi-pack-index", "pack/*.idx", "pack/*.pack", "info/alternates", "info/commit-graph"]
CHAIN = Path("info/commit-graphs/commit-graph-chain")


@pytest.fixture
def grown(one: Writer) -> Writer:
    """A memory whose commits are each a pack of its own."""
    one.ask(create())
    for number in range(3):
        one.ask(commit(f"step {number}", {f"file-{number % 2}": f"text {number}\n"}))
        with one.service.cache.hold(AGENT):
            one.warm().save()
    return one


def _history_of_a_file(one: Writer) -> list[str]:
    """Ask for a history that git has to list."""
    one.forget_histories()
    asked = history().model_copy(update={"path": "file-0", "request_id": "path-history"})
    return [found.sha for found in one.ask(asked)]


def _put_pipe(objects: Path, place: str) -> None:
    path = next(objects.glob(place), objects / place)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)


@pytest.fixture
def no_git_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fail where git is begun in a folder of objects that has a named pipe, which it might wait for."""
    run = Processes.run

    def checked(self: Processes, arguments: list[str], env: Mapping[str, str], **options: Any) -> bytes:
        for pipe in Path(env.get("GIT_OBJECT_DIRECTORY", tmp_path / "nothing")).rglob("*"):
            if pipe.is_fifo() and not (pipe.name == CHAIN.name and "core.commitGraph" in env.values()):
                raise AssertionError(f"git {arguments[1]} was begun beside {pipe}")
        return run(self, arguments, env=env, **options)

    monkeypatch.setattr(Processes, "run", checked)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("no_git_waits")
def test_a_request_that_needs_git_has_the_copy_made_anew(grown: Writer, place: str) -> None:
    before = _history_of_a_file(grown)
    damaged = grown.warm().path
    _put_pipe(damaged / "objects", place)

    assert _history_of_a_file(grown) == before
    assert grown.warm().path != damaged
    assert grown.counters.snapshot()["repo.healed"] == 1


@pytest.mark.usefixtures("no_git_waits")
def test_without_its_commit_graph_git_answers_the_same_and_upkeep_writes_it_anew(grown: Writer) -> None:
    before = _history_of_a_file(grown)
    repacker = Repacker(grown.service.cache, stock_git())
    repacker.repack(AGENT, Stop())
    objects = grown.warm().path / "objects"
    _put_pipe(objects, str(CHAIN))

    assert _history_of_a_file(grown) == before
    repacker.repack(AGENT, Stop())

    assert (objects / CHAIN).is_file()
    assert grown.warm().graph.place.trusted


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("packs_max", [3, PACKS_MAX])
@pytest.mark.usefixtures("no_git_waits")
def test_upkeep_throws_the_copy_away_and_goes_on(
    grown: Writer, place: str, packs_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the lower bound its packs are to be joined, with the other its commit graph alone is to be written."""
    monkeypatch.setattr("memrepo_worker.upkeep.repacking.PACKS_MAX", packs_max)
    before = _history_of_a_file(grown)
    repacker = Repacker(grown.service.cache, stock_git())
    damaged = grown.warm().path
    _put_pipe(damaged / "objects", place)

    with pytest.raises((GitError, OSError)):
        repacker.job(AGENT).work(Stop())

    assert not damaged.exists()
    grown.ask(files())
    assert _history_of_a_file(grown) == before
    repacker.job(AGENT).work(Stop())


@pytest.mark.parametrize("place", ["pack/*.idx", "pack/*.pack"])
def test_folding_takes_no_copy_that_has_one_among_its_packs(
    grown: Writer, place: str, tmp_path: Path
) -> None:
    objects = grown.warm().path / "objects"
    names = [index.stem for index in (objects / "pack").glob("*.idx")]
    _put_pipe(objects, place)

    assert not link_warm(grown.service.cache, AGENT, tmp_path / "linked")
    assert not (tmp_path / "linked").exists()
    with pytest.raises(OSError, match="no regular file"):
        link_packs(objects, names, tmp_path / "again")


def test_a_link_to_a_file_is_one_and_a_link_to_nothing_is_none(grown: Writer, tmp_path: Path) -> None:
    """Other tools' repositories may have their packs elsewhere."""
    objects, git = grown.warm().path / "objects", stock_git()
    index = next((objects / "pack").glob("*.idx"))
    index.rename(tmp_path / "elsewhere.idx")
    index.symlink_to(tmp_path / "elsewhere.idx")
    assert _counted(git, objects)

    (tmp_path / "elsewhere.idx").unlink()
    with pytest.raises(GitError, match="no regular file"):
        _counted(git, objects)


def _counted(git: Git, objects: Path) -> bytes:
    return git.run(["count-objects", "-v"], repo=ObjectFolder(objects))
