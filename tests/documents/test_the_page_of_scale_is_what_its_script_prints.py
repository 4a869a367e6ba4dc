"""docs/scale.md shows what its simulation prints, and the simulation does what the page says."""

from __future__ import annotations

import runpy
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.support.documents import ROOT

SCRIPT = ROOT / "docs" / "scale" / "simulation.py"
PAGE = (ROOT / "docs" / "scale.md").read_text()


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_the_page_shows_the_tables_that_the_script_prints() -> None:
    printed = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True).stdout

    tables = printed.strip().split("\n\n")
    assert len(tables) == 2
    for table in tables:
        assert table in PAGE


def test_the_costs_that_go_in_are_those_of_the_page(model: dict[str, Any]) -> None:
    costs = model["Costs"]()

    assert f"| CPU of the worker | {costs.commit_ms:g} ms | {costs.read_ms:g} ms |" in PAGE
    assert f"| CPU of Redis | {costs.redis_commit_ms:g} ms | {costs.redis_read_ms:g} ms |" in PAGE
    assert f"costs the worker {costs.cold_open_ms:g} ms of CPU" in PAGE


def cell_after(model: dict[str, Any], event: str, **places: float) -> Any:
    return model["simulate"](
        model[event], 0.1, model["Costs"](), model["Load"](), replace(model["Places"](), **places)
    )


def longest_s(cell: Any) -> float:
    return float(max(wait_s for wait_s, _ in cell.waits))


def test_the_same_inputs_give_the_same_run(model: dict[str, Any]) -> None:
    assert cell_after(model, "machine_lost").waits == cell_after(model, "machine_lost").waits


def test_a_lost_machine_is_noticed_for_its_lease(model: dict[str, Any]) -> None:
    assert longest_s(cell_after(model, "quiet")) < 1
    assert 4 < longest_s(cell_after(model, "machine_lost", lease_s=4)) < 6
    assert 16 < longest_s(cell_after(model, "machine_lost", lease_s=16)) < 18


def test_more_than_a_cell_carries_is_never_done(model: dict[str, Any]) -> None:
    alone = replace(model["Load"](), agents=100_000_000)
    cell = model["simulate"](model["quiet"], 0.1, model["Costs"](), alone, model["Places"]())

    assert longest_s(cell) > 60


def test_as_many_requests_come_as_the_load_says(model: dict[str, Any]) -> None:
    random = model["Random"](1)
    for mean in (0.0, 0.5, 3.0, 200.0):
        drawn = [model["poisson"](mean, random) for _ in range(3000)]
        assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.1)
