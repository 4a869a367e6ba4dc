"""The Makefile's memory, with a stand-in for Python: the real installation takes most of a minute."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes

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
