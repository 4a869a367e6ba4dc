"""On a copy, all that type checkers should find is wrong, and each is found: names of arguments, fields, handlers."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
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


def check(file: Path, settings: tuple[str, ...]) -> dict[int, list[str]]:
    """Return what mypy says of a file, by line."""
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--show-error-codes", *settings, file.name],
        cwd=file.parent,
        env={"MYPYPATH": str(ROOT)} if settings is USERS else {},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert checked.returncode in (0, 1), checked.stdout + checked.stderr
    said: dict[int, list[str]] = {}
    for line, error in re.findall(rf"^{file.name}:(\d+): error: (.*)$", checked.stdout, re.MULTILINE):
        said.setdefault(int(line), []).append(error)
    return said


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

    assert check(tmp_path / "right.py", USERS) == {}
    said = check(tmp_path / "wrong.py", USERS)
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


def test_a_misspelt_field_of_any_request_that_a_call_builds_is_found(tmp_path: Path) -> None:
    rooms = [
        ROOT / "producer" / "memrepo" / "repo" / name for name in ("reading.py", "writing.py", "following.py")
    ]
    fields = _misspell_fields(rooms, tmp_path)

    assert [check(tmp_path / f"right_{room.name}", OURS) for room in rooms] == [{}, {}, {}]
    said = [
        error
        for room in rooms
        for errors in check(tmp_path / f"wrong_{room.name}", OURS).values()
        for error in errors
    ]
    for name in set(fields):
        found = [error for error in said if f'Unexpected keyword argument "{name}x"' in error]
        assert len(found) == fields.count(name), (name, said)
    assert len(fields) > len(OPERATIONS)


def _misspell_fields(rooms: list[Path], folder: Path) -> list[str]:
    """Copy modules as they are, and with each field of each request misspelt; return the fields."""
    names: list[str] = []
    for room in rooms:
        names += _misspell(room.read_text(), folder / f"right_{room.name}", folder / f"wrong_{room.name}")
    return names


def _misspell(source: str, right: Path, wrong: Path) -> list[str]:
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
    right.write_text(source)
    wrong.write_text("\n".join(lines))
    return [name for _, _, name in fields]


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_a_handler_of_another_request_or_result_is_found_in_any_row(table: Path, tmp_path: Path) -> None:
    source = table.read_text()
    handlers = [handler for _, handler in ROW.findall(source)]
    others = iter([*handlers[1:], handlers[0]])
    wrong = ROW.sub(lambda row: f"{row[1]}, {next(others)}", source)
    (tmp_path / "right.py").write_text(source)
    (tmp_path / "wrong.py").write_text(wrong)

    assert check(tmp_path / "right.py", OURS) == {}
    said = check(tmp_path / "wrong.py", OURS)
    changed = [
        line
        for line, (before, after) in enumerate(
            zip(source.splitlines(), wrong.splitlines(), strict=True), start=1
        )
        if before != after
    ]
    assert len(changed) >= 5
    assert [line for line in changed if not any("[arg-type]" in error for error in said.get(line, ()))] == []


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (TABLES[0], "def other(r: GetFileRequest, v: View, w: WarmRepo, m: Limits) -> str: ...\n"),
        (TABLES[1], "def other(r: CommitRequest, line: LedgerLine, repo: WarmRepo) -> Branch: ...\n"),
    ],
    ids=["reads", "results"],
)
def test_a_handler_of_the_right_request_with_another_result_is_found(
    table: Path, row: str, tmp_path: Path
) -> None:
    operation = "GET_FILE" if table is TABLES[0] else "COMMIT"
    (tmp_path / "wrong.py").write_text(f"{table.read_text()}{row}_row(operations.{operation}, other)\n")

    said = check(tmp_path / "wrong.py", OURS)

    assert any("[arg-type]" in error for error in said[max(said)]), said
