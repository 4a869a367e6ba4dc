"""What the documentation shows is run: the API's blocks in their order, the command line's with their output."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import memrepo
from memrepo import AsyncMemoryRepos, MemoryRepos
from memrepo.cli.main import main
from memrepo.cli.table import PRODUCER
from memrepo.errors import BY_NAME
from memrepo.wire.operations import OPERATIONS
from memrepo_worker.testing import inline_worker
from tests.support.documents import ROOT, blocks

DOCS = ROOT / "docs"
API = DOCS / "api.md"
GUIDE = DOCS / "guide.md"
COMMAND_LINE = DOCS / "command-line.md"
CHANGELOG = ROOT / "CHANGELOG.md"


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let ``from_env`` give clients over the real service, inline."""
    with inline_worker() as worker:
        monkeypatch.setattr(MemoryRepos, "from_env", worker.repos)
        monkeypatch.setattr(AsyncMemoryRepos, "from_env", worker.async_repos)
        yield


def test_the_code_of_the_api_runs_as_it_stands_again_and_again(inline: None) -> None:
    shown = blocks(API, "python")
    assert len(shown) >= 9

    for _ in range(2):
        namespace: dict[str, Any] = {"__name__": "documentation"}
        for block in shown:
            exec(compile(block.padded, str(API), "exec"), namespace)


def test_the_recipes_of_the_guide_run_again_and_again(inline: None) -> None:
    shown = blocks(GUIDE, "python")
    assert len(shown) == 11

    for _ in range(2):
        namespace: dict[str, Any] = {"__name__": "documentation"}
        for block in shown:
            exec(compile(block.padded, str(GUIDE), "exec"), namespace)


def test_every_public_item_is_in_code_that_runs() -> None:
    used = {
        node.id if isinstance(node, ast.Name) else node.name
        for block in blocks(API, "python")
        for node in ast.walk(ast.parse(block.code))
        if isinstance(node, ast.Name | ast.alias)
    }

    types_alone = set(memrepo.__all__) - used
    assert all(typing.get_origin(getattr(memrepo, name)) is not None for name in types_alone)
    assert types_alone <= words(API.read_text())


def test_every_operation_is_called_in_code_that_runs() -> None:
    called = {
        node.func.attr
        for block in blocks(API, "python")
        for node in ast.walk(ast.parse(block.code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }

    assert set(OPERATIONS) - called == set()


def test_every_error_says_what_to_do() -> None:
    told = {
        name
        for row in re.findall(r"^\| (`\w+Error`[^|]*) \|", API.read_text(), re.MULTILINE)
        for name in words(row)
    }

    assert set(BY_NAME) - told == {"MemoryRepoError"}  # what they all are


def words(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def test_every_operation_and_command_is_in_the_changelog() -> None:
    told = words(CHANGELOG.read_text())
    commands = set(re.findall(r"`memrepo ([a-z]+)", CHANGELOG.read_text())) | told

    assert set(OPERATIONS) - told == set()
    assert set(PRODUCER) - commands == set()


def test_every_public_item_says_its_duty() -> None:
    for name in memrepo.__all__:
        item = getattr(memrepo, name)
        if isinstance(item, type):
            assert item.__doc__, name
            undocumented = [
                key
                for key, value in vars(item).items()
                if not key.startswith("_") and callable(value) and not value.__doc__
            ]
            assert undocumented == [], name


def examples(path: Path) -> list[tuple[list[str], str, int]]:
    """Return each command of the console blocks with its expected output and exit code."""
    found = []
    for block in blocks(path, "console"):
        for entry in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
            command, _, output = entry.partition("\n")
            code = re.search(r"^\[(\d)\]\n\Z", output, re.MULTILINE)
            expected = output[: code.start()] if code else output
            found.append((shlex.split(command)[1:], expected, int(code[1]) if code else 0))
    return found


def test_the_command_lines_examples_print_what_is_shown(inline: None) -> None:
    shown = examples(COMMAND_LINE)
    assert len(shown) >= 10

    for arguments, expected, code in shown:
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)

        pattern = ".*".join(map(re.escape, expected.rstrip().split("…")))
        assert re.fullmatch(pattern, result.output.rstrip()), (arguments, result.output)
        assert result.exit_code == code, arguments


def test_every_command_of_a_memory_is_shown_with_what_it_prints() -> None:
    shown = {arguments[0] for arguments, _, _ in examples(COMMAND_LINE)}

    assert set(PRODUCER) - shown == {"config"}  # which is of no memory


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_completion_is_there(shell: str) -> None:
    assert f"_MEMREPO_COMPLETE={shell}_source memrepo" in COMMAND_LINE.read_text()

    assert f"_MEMREPO_COMPLETE={shell}_complete" in complete(f"{shell}_source")


def test_commands_are_completed() -> None:
    completed = complete("bash_complete", COMP_WORDS="memrepo co", COMP_CWORD="1")

    assert {line.rpartition(",")[2] for line in completed.split()} == {"commit", "config"}


def complete(instruction: str, **env: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", "from memrepo.cli.main import main; main(prog_name='memrepo')"],
        env={**os.environ, "_MEMREPO_COMPLETE": instruction, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
