"""What `make bench` compares with is taken by the worker that it measures."""

from __future__ import annotations

from pathlib import Path

from benchmarks.lab import ORG, lab
from benchmarks.plain import BARE, ECHO, KEEP, NOTHING


def test_plain_tasks_run_beside_real_requests(tmp_path: Path) -> None:
    with lab(tmp_path, long=False) as place, place.worker() as bench:
        assert bench.plain.call(NOTHING) == 1
        bench.plain.call(BARE, size=100)
        bench.plain.call(KEEP, value="kept")
        assert bench.plain.call(ECHO) == "kept"
        assert bench.repos.repo(org_id=ORG, agent_id="one").create_repo().result(timeout_s=20).created
