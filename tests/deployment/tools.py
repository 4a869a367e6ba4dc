"""The tools that judge what is deployed: Debian's packages, installed where they are not there, and Python's."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from tests.fresh.debian.machine import run

_INSTALL_TIMEOUT_S = 300.0


def debians(program: str, package: str) -> str:
    """Return the path of a program of a Debian package.

    Raises:
        ProcessFailedError: it is not there, and apt gives it not; the message ends with its words.
    """
    path = Path("/usr/bin") / program
    if not path.exists():
        run("apt-get", "update", "--quiet", timeout_s=_INSTALL_TIMEOUT_S)
        run(
            *("apt-get", "install", "--yes", "--no-install-recommends", package),
            timeout_s=_INSTALL_TIMEOUT_S,
        )
    return str(path)


def pythons(program: str) -> str:
    """Return the path of a program that ``tests/deployment/requirements.txt`` installs."""
    return str(Path(sysconfig.get_path("scripts")) / program)
