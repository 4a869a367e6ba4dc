"""Each bound of serving is in the page of operations, with its setting and its counter; and no others are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import memrepo_worker.bounds as module
from memrepo.limits import KIB, MIB
from memrepo_worker.bounds import Bounds, CompareBounds, LedgerBounds, MergeBounds, SharingBounds
from memrepo_worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
TABLE = PAGE.partition("\n## Bounds")[2].partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| `MEMREPO_([A-Z_]+)` \| `(bounds\.[a-z_]+)` \|", TABLE, re.MULTILINE))
FIXED = dict(
    re.findall(r"^\| `([A-Za-z]+Bounds\.[a-z_]+)` \| ([0-9.]+(?: (?:[KM]iB|m?s))?) \|", TABLE, re.MULTILINE)
)
COUNTERS = {
    value for name, value in vars(module).items() if name.isupper() and str(value).startswith("bounds.")
}
NAMES = [item.name for item in fields(Bounds)]


def counter_of(name: str) -> str:
    return "bounds." + name.removesuffix("_max").removesuffix("_s")


def test_the_table_has_all_of_them_with_their_counters_and_no_others() -> None:
    assert {name: counter_of(name) for name in NAMES} == {
        name.lower(): counter for name, counter in ROWS.items()
    }
    assert set(ROWS.values()) == COUNTERS


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_setting_of_a_worker(name: str) -> None:
    default = getattr(Bounds(), name)
    assert getattr(WorkerSettings.from_env({}).bounds, name) == default
    other = 2 * int(default)
    assert getattr(WorkerSettings.from_env({f"MEMREPO_{name.upper()}": str(other)}).bounds, name) == other


@pytest.mark.parametrize("name", NAMES)
def test_a_test_drives_each_from_outside(name: str) -> None:
    """It sets the bound, or looks at its counter; this file does not count."""
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert any(f'"{counter_of(name)}"' in source or f"{name}=" in source for source in sources)


def test_the_bounds_that_are_no_settings_are_there_with_their_numbers() -> None:
    def told(text: str) -> float:
        number, _, unit = text.partition(" ")
        return float(number) * {"": 1, "KiB": KIB, "MiB": MIB, "s": 1, "ms": 1e-3}[unit]

    assert {name: told(text) for name, text in FIXED.items()} == {
        f"{kind.__name__}.{item.name}": item.default
        for kind in (MergeBounds, LedgerBounds, CompareBounds, SharingBounds)
        for item in fields(kind)
    }
