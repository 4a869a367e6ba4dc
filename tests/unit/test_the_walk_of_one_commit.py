"""The walk of one commit in ARCHITECTURE.md names what there is, and is not longer than it was promised to be."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "ARCHITECTURE.md"
STEPS_MAX, FUNCTIONS_MAX = 53, 53
"""The first such list had 54 steps, each of one to four functions."""


def walk() -> str:
    return PAGE.read_text().partition("## The walk of one commit")[2].partition("\n## ")[0]


def names() -> list[str]:
    return re.findall(r"`(memrepo(?:_worker)?(?:\.\w+)*:[\w.]+)`", walk())


@pytest.mark.parametrize("name", names())
def test_every_step_of_the_walk_is_a_function_that_is_there(name: str) -> None:
    module, _, attribute = name.partition(":")
    found: object = import_module(module)

    for part in attribute.split("."):
        found = getattr(found, part)

    assert callable(found)


def test_the_walk_is_short() -> None:
    assert 20 < len(re.findall(r"^\d+\. ", walk(), re.MULTILINE)) <= STEPS_MAX
    assert 40 < len(names()) <= FUNCTIONS_MAX
