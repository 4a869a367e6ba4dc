"""The README is done as it says, in its order: every line of its shell is run here, or proven where this page says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.__main__ import ROWS
from examples.demo import COMMITS_EACH
from memrepo.settings import environment
from memrepo_worker.assembly import build_git
from memrepo_worker.observe import Counters
from tests.functional.test_two_workers_on_one_agent import COMMITS
from tests.support.commands import Up, up
from tests.support.documents import ROOT, blocks
from tests.support.seeded_repository import write_seeded_repository

README = ROOT / "README.md"
TEXT = README.read_text()
SHELL = [block.code for block in blocks(README, "sh")]
PROGRAM, *_ = blocks(README, "python")
ACTIVATE = ". venv/bin/activate"

PROVEN_ELSEWHERE = {
    "make demo": "tests/fresh/debian/test_the_readme_on_a_new_machine.py",
    "make test": "by whoever reads this line because it ran",
    "python3 -m venv venv": "tests/fresh",
    ACTIVATE: "every block that is run here begins with it",
    "pip install '/path/to/checkout[worker,flower]'": "tests/fresh",
    "pip install '/path/to/checkout[worker,s3]'": "tests/fresh",
    "memrepo up": "tests/system/test_up_runs_everything_on_one_machine.py",
    "memrepo worker": "tests/support/systems.py: every system of these tests runs one",
}


def lines(code: str) -> list[str]:
    return [line.partition("   # ")[0].strip() for line in code.splitlines()]


def block_with(line: str) -> str:
    (code,) = [code for code in SHELL if line in lines(code)]
    return code


FIRST_STEPS = block_with("python first.py")
REPLAY = block_with("memrepo replay /path/to/any/repository --agent old-notes")
PRODUCTION = block_with("memrepo doctor")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the reader's: the environment in ``venv``, and the program in ``first.py``."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "venv").symlink_to(sys.prefix)
    (folder / "first.py").write_text(PROGRAM.code)
    return folder


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[Up]:
    with up(place) as system:
        yield system


def follow(code: str, place: Path, stand_ins: Mapping[str, str], **env: str) -> str:
    """Run a block of shell, but for what is proven elsewhere, with what this machine has in the README's place."""
    script = "\n".join([ACTIVATE, *(line for line in lines(code) if line not in PROVEN_ELSEWHERE)])
    for shown, ours in stand_ins.items():
        assert shown in script
        script = script.replace(shown, ours)
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=place,
        env={"PATH": environment()["PATH"], "HOME": str(place), **env},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_first_program_runs_again_and_again(place: Path, running: Up) -> None:
    ours = {"redis://:password@127.0.0.1:6379/0": running.broker_url}

    for times in (1, 2):
        said = follow(FIRST_STEPS, place, ours)

        assert said.count("+1 -0 Remember") == times
        assert "Note a wish" in said
        assert "Author: Planner <planner@agents.example> (agent)" in said  # as `memrepo log` shows it


def test_a_history_of_ones_own_is_replayed(place: Path, running: Up) -> None:
    repository = write_seeded_repository(place / "any", build_git(Counters()), commits=20)
    ours = {"/path/to/any/repository": str(repository)}

    said = follow(REPLAY, place, ours, MEMREPO_BROKER_URL=running.broker_url)

    assert "20 of 20 trees are equal" in said
    assert len(re.findall("^commit ", said, re.MULTILINE)) == 5


def test_what_production_needs_is_checked_by_doctor(place: Path, running: Up) -> None:
    ours = {
        "rediss://user:password@redis.example:6379/0": running.broker_url,
        "s3://bucket/prefix": (place / "memrepo-data" / "store").as_uri(),
    }

    said = follow(PRODUCTION, place, ours)

    assert re.findall(r"^(\w+) ", said, re.MULTILINE).count("ok") >= 4  # git, cache, broker, store
    assert "FAIL" not in said


def test_every_line_of_shell_is_run_here_or_proven_elsewhere() -> None:
    others = {line for code in SHELL if code not in (FIRST_STEPS, REPLAY, PRODUCTION) for line in lines(code)}

    assert others <= PROVEN_ELSEWHERE.keys() <= {line for code in SHELL for line in lines(code)}


def test_what_is_installed_are_extras_that_there_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {name for extras in re.findall(r"/checkout\[([\w,]+)\]", TEXT) for name in extras.split(",")}

    assert {"worker", "flower"} <= asked <= project["optional-dependencies"].keys()
    assert "pip install memrepo" not in TEXT, "it is not published"


def test_the_commands_that_show_the_figures_are_there() -> None:
    rows = {row for names in re.findall(r"make bench ROWS=([\w,]+)", TEXT) for row in names.split(",")}
    tests = re.findall(r"python -m pytest (\S+?)`", TEXT)

    assert rows
    assert rows <= ROWS.keys()
    assert tests
    assert [test for test in tests if not (ROOT / test).is_file()] == []


def test_the_figures_that_are_counts_are_those_of_the_tests() -> None:
    assert f"{2 * COMMITS} of {2 * COMMITS} commits kept" in TEXT
    assert f"{COMMITS_EACH} of {COMMITS_EACH} commits, `git fsck` clean" in TEXT
