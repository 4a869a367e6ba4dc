"""What `make` runs, with a stand-in for Python and its tools: the real ones take most of a minute."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes, ProcessFailedError

ROOT = Path(__file__).resolve().parents[2]

STAND_IN = """#!/bin/sh
case "$*" in
  -VV) echo "Python 3.11.2" ;;
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
esac
echo "$*" >> calls
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python3"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    return tmp_path


def make_install(checkout: Path) -> str:
    env = {"PATH": environment()["PATH"], "PYTHON": f"{checkout}/python3"}
    return Processes(Counters()).run(["make", "install"], env=env, cwd=checkout, timeout_s=60).decode()


def installers(checkout: Path) -> list[str]:
    """Return the installers that ran since the last look."""
    calls = (checkout / "calls").read_text().splitlines()
    (checkout / "calls").write_text("")
    return [call for call in calls if "pip install" in call or "venv" in call]


def test_the_first_run_installs_by_hash_and_the_second_starts_no_installer(checkout: Path) -> None:
    make_install(checkout)
    venv, lock, project = installers(checkout)
    assert venv == "-m venv .venv"
    assert "--require-hashes -r requirements.lock" in lock
    assert "--no-deps --no-build-isolation --editable ." in project

    assert "Already installed" in make_install(checkout)
    assert installers(checkout) == []


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock"])
def test_another_lock_or_project_file_installs_again(checkout: Path, name: str) -> None:
    make_install(checkout)
    installers(checkout)

    with (checkout / name).open("a") as file:
        file.write("# changed\n")

    make_install(checkout)
    assert len(installers(checkout)) == 3


def test_an_installation_that_broke_off_is_done_again(checkout: Path) -> None:
    make_install(checkout)
    (checkout / ".venv" / "installed-from").unlink()
    installers(checkout)

    make_install(checkout)
    assert len(installers(checkout)) == 3


def test_a_checkout_that_was_moved_begins_anew(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make_install(checkout)
    (checkout / ".venv" / "old").touch()
    moved = tmp_path_factory.mktemp("moved") / "checkout"
    shutil.copytree(checkout, moved)

    make_install(moved)

    assert not (moved / ".venv" / "old").exists()
    assert (moved / ".venv" / "installed-from").exists()


CHECKERS = ("ruff format --check .", "ruff check .", "mypy", "lint-imports")


def stand_ins(checkout: Path, failing: str) -> None:
    """Put in place of each tool one that notes how it was called, and fails where the call is the one that is named."""
    for tool in ("ruff", "mypy", "lint-imports"):
        script = checkout / ".venv" / "bin" / tool
        script.write_text(
            f'#!/bin/sh\ncall=$(echo "{tool} $*" | sed "s/ *$//")\necho "$call" >> calls\n[ "$call" != "{failing}" ]\n'
        )
        script.chmod(0o755)


def make(checkout: Path, target: str) -> int:
    """Return how a target ended, after an installation that is not counted."""
    make_install(checkout)
    (checkout / "calls").write_text("")
    env = {"PATH": environment()["PATH"], "PYTHON": f"{checkout}/python3"}
    try:
        Processes(Counters()).run(["make", target], env=env, cwd=checkout, timeout_s=60)
    except ProcessFailedError:
        return 1
    return 0


def tools_called(checkout: Path) -> list[str]:
    calls = (checkout / "calls").read_text().splitlines()
    return [call for call in calls if call.startswith(("ruff", "mypy", "lint"))]


@pytest.mark.parametrize("failing", ["none of them", *CHECKERS])
def test_a_check_runs_every_tool_and_fails_if_one_has_found_something(checkout: Path, failing: str) -> None:
    make_install(checkout)
    stand_ins(checkout, failing)

    assert make(checkout, "check") == (failing in CHECKERS)
    assert tools_called(checkout) == list(CHECKERS)


def test_mending_formats_also_where_the_linter_cannot_mend_all(checkout: Path) -> None:
    make_install(checkout)
    stand_ins(checkout, "ruff check --fix .")

    assert make(checkout, "fix") == 1
    assert tools_called(checkout) == ["ruff check --fix .", "ruff format ."]


def test_a_commit_is_checked_by_the_same_command() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text()

    assert "entry: make check\n" in config
    assert "http" not in config
