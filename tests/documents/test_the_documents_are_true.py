"""What the documents name is there, and what is there is named."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import click
import pytest

from memrepo.cli.main import main
from memrepo.limits import Limits
from memrepo.settings import Settings
from memrepo_worker.cli.worker import worker as worker_command
from memrepo_worker.git.command import GIT_VERSION_MIN
from memrepo_worker.settings import WorkerSettings
from tests.support.documents import DOCUMENTS, ROOT
from tests.support.jobs import present


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_oldest_python_and_git_are_named_alike_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    python = project["project"]["requires-python"].removeprefix(">=")
    git = ".".join(map(str, GIT_VERSION_MIN))

    assert f"Both need Python {python} or newer, git {git} or newer" in (ROOT / "README.md").read_text()
    assert f"memrepo needs Python {python} or newer" in (ROOT / "Makefile").read_text()
    assert f"Needs git {git} or newer" in str(worker_command.help)


@pytest.mark.parametrize(("page", "named_min"), [("CONTRIBUTING.md", 20), ("SECURITY.md", 12)])
def test_the_files_that_a_reader_is_sent_to_are_there(page: str, named_min: int) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:producer|worker|tests|docs|examples)/[\w./]*|[\w]+\.(?:md|toml))`", text)

    assert len(named) >= named_min
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(("title", "files_max"), [("an operation", 12), ("a worker's setting", 6)])
def test_a_change_of_the_common_kinds_touches_few_files(title: str, files_max: int) -> None:
    _, _, text = (ROOT / "CONTRIBUTING.md").read_text().partition(f"## How to add {title}\n")
    numbers = re.findall(r"^\| (\d+) \| ", text.partition("\n## ")[0], re.MULTILINE)

    assert 0 < len(numbers) <= files_max
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_targets_of_make_that_are_named_are_there(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^    )(?:[A-Z]+=\S+ )?make ([a-z-]+)", document.read_text(), re.MULTILINE)

    assert set(named) - targets == set()


def commands_in(text: str) -> Iterator[list[str]]:
    """Yield each use of the command: in a line of code, or between backticks."""
    for used in re.findall(r"`(memrepo [^`\n]+)`|^(?:    |\$ )(memrepo [^#|>&\n`]+)", text, re.MULTILINE):
        with suppress(ValueError):  # a quote that is no quote: prose
            yield shlex.split(used[0] or used[1])[1:]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_that_are_named_are_there(document: Path) -> None:
    for words in commands_in(document.read_text()):
        command: click.Command = main
        context = click.Context(main)
        named = [word for word in words if re.fullmatch("[a-z|]+", word)]
        while isinstance(command, click.Group) and named:
            found = [command.get_command(context, name) for name in named.pop(0).split("|")]
            assert all(found), words
            command = present(found[0])
        options = {name for option in command.params for name in option.opts} | {"--help", "--version"}
        assert {word for word in words if re.match("--?[a-z]", word)} <= options, words


def helps(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the help of a command and of all below it."""
    yield command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from helps(below, click.Context(below, context, name))


def test_users_read_of_a_letta_server_and_its_legacy_layout_by_these_names() -> None:
    """The name that its developers gave it says nothing to others."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    shown = [*(page.read_text() for page in pages), *helps(main, click.Context(main, info_name="memrepo"))]

    assert [text for text in shown if re.search(r"\bseed\b|\bseed's\b", text, re.IGNORECASE)] == []
    assert "Letta server" in (ROOT / "docs" / "operations.md").read_text()


def test_every_setting_is_documented() -> None:
    names = {item.name for kind in (Settings, WorkerSettings, Limits) for item in fields(kind)} - {"limits"}
    text = (ROOT / "docs" / "operations.md").read_text()

    assert [name for name in sorted(names) if name.upper() not in text] == []


def test_the_glossary_has_fifteen_words_at_most_each_of_which_is_used() -> None:
    _, _, text = (ROOT / "ARCHITECTURE.md").read_text().partition("## Words\n")
    glossary = re.findall(r"^\| (\w+) \| ", text.partition("\n## ")[0], re.MULTILINE)
    sources = " ".join(path.read_text() for path in (ROOT / "worker").glob("**/*.py")).lower()

    assert glossary[0] == "word"
    assert 1 < len(glossary[1:]) <= 15
    assert [word for word in glossary[1:] if word not in sources] == []


@pytest.mark.parametrize("package", ["producer/memrepo", "worker/memrepo_worker"])
def test_the_map_shows_every_module(package: str) -> None:
    modules = [
        path for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    text = (ROOT / "ARCHITECTURE.md").read_text()
    shown = {f"`{path.stem}`" if path.suffix else f"`{path.name}/`" for path in modules} - {"`__init__`"}

    assert sorted(name for name in shown if name not in text) == []
