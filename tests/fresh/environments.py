"""New virtual environments with the wheel in them: no lock, no development tools, as its users make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.fresh.pythons import Python

EXTRAS = {"producer": "", "worker": "[worker]", "whole": "[worker,s3,gcs,flower,otel]"}
"""What may be asked for: what an agent loop needs, the least that serves, everything."""

_INSTALL_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Environment:
    """A virtual environment in which memrepo was installed."""

    folder: Path

    @property
    def memrepo(self) -> str:
        """Its command."""
        return str(self.folder / "bin" / "memrepo")

    def python(self, *arguments: str) -> str:
        """Run its Python and return what that printed."""
        return _run([str(self.folder / "bin" / "python"), *arguments])


def install(
    folder: Path, python: Python, wheel: Path, extras: str, constraints: Sequence[str]
) -> Environment:
    """Make an environment and have its own pip resolve and install the wheel.

    Raises:
        ProcessFailedError: pip found no versions that go together, or could not install them.
    """
    _run([python.program, "-m", "venv", str(folder)])
    made = Environment(folder)
    made.python("-m", "pip", "install", *_wanted(folder, wheel, extras, constraints))
    return made


def resolve(folder: Path, python: Python, wheel: Path, extras: str, constraints: Sequence[str]) -> None:
    """Have pip find what it would install, as finished wheels only; nothing is installed.

    Raises:
        ProcessFailedError: as for ``install``.
    """
    options = ["--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    wanted = _wanted(folder, wheel, extras, constraints)
    _run([python.program, "-m", "pip", "install", *options, *wanted])


def _wanted(folder: Path, wheel: Path, extras: str, constraints: Sequence[str]) -> list[str]:
    listed = folder.with_suffix(".constraints")
    listed.write_text("\n".join(constraints))
    return ["--quiet", "--disable-pip-version-check", "--constraint", str(listed), f"{wheel}{extras}"]


def _run(arguments: Sequence[str]) -> str:
    env = {key: value for key, value in environment().items() if not key.startswith(("PYTHON", "VIRTUAL_"))}
    return Processes(Counters()).run(arguments, env=env, timeout_s=_INSTALL_TIMEOUT_S).decode()
