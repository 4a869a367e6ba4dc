"""The memories that damage is done to, by copies of them, what a healthy worker answers, and the store commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from memrepo.cli.main import main
from memrepo_worker.store.backends.local import LocalStore
from tests.damage.journals import Journal, folded
from tests.damage.memory import Observed, healthy_answers, make

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory") / "sound"
    make(folder)
    return folder


@pytest.fixture(scope="session")
def healthy(memory: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Observed]:
    """What a worker observes whose copy is sound, by operation."""
    return healthy_answers(memory, tmp_path_factory.mktemp("healthy"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    return folded(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def anothers(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    return folded(tmp_path_factory.mktemp("another"), "other")


@pytest.fixture
def run(store: LocalStore, tmp_path: Path) -> Run:
    """Run ``memrepo store`` with these arguments; return its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        env = {"MEMREPO_STORE_URL": store.name, "MEMREPO_CACHE_DIR": str(tmp_path / "cache")}
        ended = CliRunner(env=env).invoke(main, ["store", *arguments])
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return ended.exit_code, ended.stdout, ended.stderr

    return run
