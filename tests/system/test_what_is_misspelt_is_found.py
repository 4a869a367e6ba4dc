"""On a copy, all that type checkers should find is wrong, and each is found: names of arguments, fields, handlers."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo import AsyncMemoryRepos, MemoryRepo, MemoryRepos
from memrepo.wire.operations import OPERATIONS
from tests.support.documents import ROOT

OURS = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"))
"""As ``make check`` does."""
USERS = ("--strict", "--config-file=", "--cache-dir", str(ROOT / ".mypy_cache" / "shown"))
"""As users do."""

SERVICE = ROOT / "worker" / "memrepo_worker" / "service"
TABLES = (SERVICE / "reads.py", SERVICE / "results.py", SERVICE / "writes" / "table.py")
ROOMS = [
    ROOT / "producer" / "memrepo" / "repo" / name for name in ("reading.py", "writing.py", "following.py")
]
OTHER_ROWS = {
    TABLES[0]: ("GET_FILE", "def other(r: GetFileRequest, v: View, w: WarmRepo, m: Limits) -> str: ...\n"),
    TABLES[1]: ("COMMIT", "def other(r: CommitRequest, line: LedgerLine, repo: WarmRepo) -> Branch: ...\n"),
}
"""To tables a row that answers its operation with something else."""
ROW = re.compile(r"(?<=_row\(operations\.)(\w+), (\w+)(?=\))")

CLIENTS = """
from typing import Any
from memrepo import AsyncMemoryRepos, MemoryRepos

anything: Any = None


def take(_: object) -> None: ...


blocking = MemoryRepos.from_env()
asyncio = AsyncMemoryRepos.from_env()
blocking_repo = blocking.repo(org_id="acme", agent_id="ann")
asyncio_repo = asyncio.repo(org_id="acme", agent_id="ann")
"""


Said = Mapping[str, Mapping[int, list[str]]]
"""What mypy says, by file and line."""


def check(folder: Path, settings: tuple[str, ...]) -> Said:
    """Return what mypy says of the files of a folder, each by itself: together, since mypy takes long to begin."""
    files = sorted(file.name for file in folder.glob("*.py"))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--show-error-codes", *settings, *files],
        cwd=folder,
        env={"MYPYPATH": str(ROOT)} if settings is USERS else {},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert checked.returncode in (0, 1), checked.stdout + checked.stderr
    said: dict[str, dict[int, list[str]]] = {file: {} for file in files}
    for file, line, error in re.findall(r"^(\w+\.py):(\d+): error: (.*)$", checked.stdout, re.MULTILINE):
        said[file].setdefault(int(line), []).append(error)
    return said


@dataclass(frozen=True)
class Planted:
    """Modules with something wrong in them: the ``fields`` that are misspelt, and what mypy says."""

    folder: Path
    fields: list[str]
    said: Said


def calls_of(name: str, method: Callable[..., object]) -> Iterator[tuple[str, str, str]]:
    """Yield for each argument the call with it, the call with it misspelt, and the misspelt name."""
    parameters = [one for one in inspect.signature(method).parameters.values() if one.name != "self"]
    if not parameters:
        yield f"{name}()", f"{name}(x=anything)", "x"
    needed = {one.name for one in parameters if one.default is inspect.Parameter.empty}
    for one in parameters:
        others = [f"{each}=anything" for each in sorted(needed - {one.name})]
        right, wrong = (
            f"{name}({', '.join([*others, f'{spelt}=anything'])})" for spelt in (one.name, f"{one.name}x")
        )
        yield right, wrong, f"{one.name}x"


def every_call() -> list[tuple[str, str, str]]:
    """Every call of both clients and of a memory of either."""
    return [
        call
        for name, kind in {
            "blocking": MemoryRepos,
            "asyncio": AsyncMemoryRepos,
            "blocking_repo": MemoryRepo,
            "asyncio_repo": MemoryRepo,
        }.items()
        for method, function in inspect.getmembers(kind, inspect.isfunction)
        if not method.startswith("_")
        for call in calls_of(f"{name}.{method}", function)
    ]


def test_a_misspelt_argument_of_any_call_of_either_client_is_found(tmp_path: Path) -> None:
    calls = every_call()
    assert {f"{client}.{name}" for name in OPERATIONS for client in _who_has(name)} <= {
        right.partition("(")[0] for right, _, _ in calls
    }
    (tmp_path / "right.py").write_text(CLIENTS + "\n".join(_awaited(right) for right, _, _ in calls))
    (tmp_path / "wrong.py").write_text(CLIENTS + "\n".join(_awaited(wrong) for _, wrong, _ in calls))

    found = check(tmp_path, USERS)

    assert found["right.py"] == {}
    said = found["wrong.py"]
    missed = [
        wrong
        for line, (_, wrong, name) in enumerate(calls, start=CLIENTS.count("\n") + 1)
        if not any(f'Unexpected keyword argument "{name}"' in error for error in said.get(line, ()))
    ]
    assert missed == []


def _who_has(name: str) -> tuple[str, str]:
    """Return by which names of ``CLIENTS`` an operation is called: those of a memory, or of the clients themselves."""
    return ("blocking_repo", "asyncio_repo") if hasattr(MemoryRepo, name) else ("blocking", "asyncio")


def _awaited(call: str) -> str:
    """Make a statement of a call that type checkers let stand alone, be it a coroutine or not."""
    return f"take({call})" if call.startswith("asyncio.") else call


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Copies of our modules, right ones and wrong ones, and what mypy says of each."""
    folder = tmp_path_factory.mktemp("planted")
    fields = [field for room in ROOMS for field in _misspell(room, folder)]
    for table in TABLES:
        _exchange_handlers(table, folder)
    for table, (operation, row) in OTHER_ROWS.items():
        code = f"{table.read_text()}{row}_row(operations.{operation}, other)\n"
        (folder / f"other_{table.name}").write_text(code)
    return Planted(folder, fields, check(folder, OURS))


def _misspell(room: Path, folder: Path) -> list[str]:
    """Copy a module as it is, and with each field of each request misspelt; return the fields."""
    source = room.read_text()
    fields = [
        (keyword.lineno, keyword.col_offset, keyword.arg)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Request")
        for keyword in node.keywords
        if keyword.arg is not None
    ]
    lines = source.splitlines()
    for line, column, name in sorted(fields, reverse=True):
        before = lines[line - 1]
        lines[line - 1] = before[:column] + f"{name}x" + before[column + len(name) :]
    (folder / f"right_{room.name}").write_text(source)
    (folder / f"wrong_{room.name}").write_text("\n".join(lines))
    return [name for _, _, name in fields]


def _exchange_handlers(table: Path, folder: Path) -> None:
    """Copy a table as it is, and with the handler of each row's neighbour."""
    source = table.read_text()
    handlers = [handler for _, handler in ROW.findall(source)]
    others = iter([*handlers[1:], handlers[0]])
    (folder / f"right_{table.name}").write_text(source)
    (folder / f"wrong_{table.name}").write_text(ROW.sub(lambda row: f"{row[1]}, {next(others)}", source))


def test_a_misspelt_field_of_any_request_that_a_call_builds_is_found(planted: Planted) -> None:
    assert [planted.said[f"right_{room.name}"] for room in ROOMS] == [{}, {}, {}]
    said = [
        error for room in ROOMS for errors in planted.said[f"wrong_{room.name}"].values() for error in errors
    ]
    for name in set(planted.fields):
        found = [error for error in said if f'Unexpected keyword argument "{name}x"' in error]
        assert len(found) == planted.fields.count(name), (name, said)
    assert len(planted.fields) > len(OPERATIONS)


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_a_handler_of_another_request_or_result_is_found_in_any_row(table: Path, planted: Planted) -> None:
    source, wrong = ((planted.folder / f"{kind}_{table.name}").read_text() for kind in ("right", "wrong"))
    said = planted.said[f"wrong_{table.name}"]

    assert planted.said[f"right_{table.name}"] == {}
    changed = [
        line
        for line, (before, after) in enumerate(
            zip(source.splitlines(), wrong.splitlines(), strict=True), start=1
        )
        if before != after
    ]
    assert len(changed) >= 5
    assert [line for line in changed if not any("[arg-type]" in error for error in said.get(line, ()))] == []


@pytest.mark.parametrize("table", OTHER_ROWS, ids=lambda path: path.stem)
def test_a_handler_of_the_right_request_with_another_result_is_found(table: Path, planted: Planted) -> None:
    said = planted.said[f"other_{table.name}"]

    assert any("[arg-type]" in error for error in said[max(said)]), said
