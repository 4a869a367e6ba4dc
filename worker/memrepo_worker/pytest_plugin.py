"""Fixtures for users' tests; pytest finds them by the entry point ``pytest11``.

It is loaded in every run of pytest where memrepo is installed, so it imports nothing before a fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from memrepo import AsyncMemoryRepos, MemoryRepos
    from memrepo_worker.testing import InlineWorker


@pytest.fixture
def memrepo_inline_worker() -> Iterator[InlineWorker]:
    """Run a worker in this process, over an empty store in memory, to make clients of; see docs/testing.md."""
    try:
        from memrepo_worker.testing import inline_worker  # noqa: PLC0415 - only where the fixture is used
    except ModuleNotFoundError as error:
        pytest.fail(str(error), pytrace=False)
    with inline_worker() as worker:
        yield worker


@pytest.fixture
def memrepo_repos(memrepo_inline_worker: InlineWorker) -> MemoryRepos:
    """Give a client whose calls have been executed when they return; see docs/testing.md."""
    return memrepo_inline_worker.repos()


@pytest.fixture
def async_memrepo_repos(memrepo_inline_worker: InlineWorker) -> AsyncMemoryRepos:
    """Give a client for asyncio, with the same memories as ``memrepo_repos``, for any event loop."""
    return memrepo_inline_worker.async_repos()
