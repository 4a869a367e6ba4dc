"""The Pythons that memrepo says it runs on, as far as this machine has them."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes, ProcessFailedError

ROOT = Path(__file__).resolve().parents[2]
_SAY = "import sys; print(sys._base_executable); print('.'.join(map(str, sys.version_info[:2])))"
_CLASSIFIER = "Programming Language :: Python :: 3."


@dataclass(frozen=True)
class Python:
    """An interpreter and its version, as in ``3.13``."""

    program: str
    version: str


def supported_versions() -> list[str]:
    """Return the versions of the classifiers, oldest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    minors = [
        line.removeprefix(_CLASSIFIER) for line in project["classifiers"] if line.startswith(_CLASSIFIER)
    ]
    return [f"3.{minor}" for minor in sorted(map(int, minors))]


def pythons() -> list[Python]:
    """Return an interpreter of each supported version that is found by its name, oldest first.

    ``FRESH_PYTHONS`` names those to use instead (``python3.11 python3.13``); then each of them has to be there.

    Raises:
        ProcessFailedError: one that was named cannot be started.
    """
    named = environment().get("FRESH_PYTHONS", "").split()
    if named:
        found = [_ask(name) for name in named]
    else:
        found = [python for version in supported_versions() if (python := _find(version)) is not None]
    return sorted(found, key=lambda python: int(python.version.partition(".")[2]))


def _find(version: str) -> Python | None:
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return _ask(sys.executable)
    try:
        return _ask(f"python{version}", version)
    except ProcessFailedError:
        return None


def _ask(program: str, version: str = "") -> Python:
    # pyenv's stand-ins on PATH start only the version that is chosen; others do not look at this variable.
    chosen = {"PYENV_VERSION": version} if version else {}
    said = Processes(Counters()).run([program, "-c", _SAY], env={**environment(), **chosen}, timeout_s=30)
    executable, told = said.decode().split("\n")[:2]
    return Python(executable, told)
