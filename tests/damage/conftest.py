"""The memory that all damage is done to, by copies of it, and what a healthy worker answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.damage.memory import Observed, healthy_answers, make


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory") / "sound"
    make(folder)
    return folder


@pytest.fixture(scope="session")
def healthy(memory: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Observed]:
    """What a worker observes whose copy is sound, by operation."""
    return healthy_answers(memory, tmp_path_factory.mktemp("healthy"))
