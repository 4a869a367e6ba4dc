"""Fixtures for users' tests; pytest finds them by the entry point ``pytest11``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from memrepo.client import MemoryRepos


@pytest.fixture
def memrepo_repos() -> Iterator[MemoryRepos]:
    """Give a client over the real service and an empty store in memory, inline; see ``memrepo_worker.testing``."""
    from memrepo_worker.testing import inline_repos  # noqa: PLC0415 - only where the fixture is used

    with inline_repos() as repos:
        yield repos
