"""New Debian machines; how long what ran on them took is printed at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.fresh.debian.root import Root
from tests.fresh.packages import ROOT

TIMES = pytest.StashKey[list[str]]()

Note = Callable[[str, float], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TIMES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.section("how long it took")
    for line in config.stash[TIMES]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def took(pytestconfig: pytest.Config) -> Note:
    """Note for the end how many seconds something took."""
    return lambda what, seconds: pytestconfig.stash[TIMES].append(f"{seconds:6.1f} s  {what}")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone, as its user would have it; what is not committed is not in it."""
    folder = tmp_path_factory.mktemp("clone") / "memrepo"
    command = ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)]
    Processes(Counters()).run(command, env=environment(), timeout_s=60)
    return folder


@pytest.fixture(scope="session")
def new_debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Root]]:
    """Give the root of a suite; it is made at first use, and to be copied before anything is changed in it."""
    assert os.geteuid() == 0, "this makes file systems and users of its own: run it as root"
    folder = tmp_path_factory.mktemp("debian")
    made: dict[str, Root] = {}

    def get(suite: str) -> Root:
        if suite not in made:
            made[suite] = Root.bootstrap(suite, folder / suite)
        return made[suite]

    yield get
    for root in made.values():
        root.remove()
