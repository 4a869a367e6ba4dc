"""The packages, built once, and an environment for each choice of extras and versions, made two at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fresh.environments import EXTRAS, Environment, install
from tests.fresh.packages import Packages, build
from tests.fresh.pythons import Python, pythons

VERSIONS = ("newest", "lowest")

Environments = Callable[[str, str], Environment]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The sdist and the wheel of this checkout."""
    return build(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session")
def interpreters() -> list[Python]:
    """The supported Pythons of this machine, oldest first."""
    return pythons()


@pytest.fixture(scope="session")
def environments(
    packages: Packages, interpreters: list[Python], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environments]:
    """Give the environment of an extra and of versions: the newest on the newest Python, the lowest on the oldest."""
    folder = tmp_path_factory.mktemp("environments")

    def make(name: str, versions: str) -> Environment:
        place: Path = folder / f"{name}-{versions}"
        python = interpreters[-1 if versions == "newest" else 0]
        constraints = packages.lowest() if versions == "lowest" else []
        return install(place, python, packages.wheel, EXTRAS[name], constraints)

    with ThreadPoolExecutor(2) as pool:
        made = {
            (name, versions): pool.submit(make, name, versions) for versions in VERSIONS for name in EXTRAS
        }
        try:
            yield lambda name, versions: made[name, versions].result()
        finally:
            pool.shutdown(cancel_futures=True)
