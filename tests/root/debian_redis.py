"""Debian's Redis for tests: ``python -m tests.root.debian_redis`` prints where its program is, and installs it before.

It is the server that most who install memrepo on a Debian have, and older than the Valkey that other tests run on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from memrepo_worker.processes import ProcessFailedError
from tests.fresh.debian.machine import run

PACKAGE = "redis-tools"
"""Holds the program and starts no server; ``redis-server`` adds the service."""

SERVER = Path("/usr/bin/redis-server")
_PROGRAM = Path("/usr/bin/redis-check-rdb")  # the same program: it is a server under that other name
_LINK = Path(__file__).resolve().parents[2] / "build" / "debian-redis" / SERVER.name
_INSTALL_TIMEOUT_S = 300.0


def debian_redis() -> Path:
    """Return the program of Debian's Redis, installed if it is not there.

    Raises:
        ProcessFailedError: apt gives none here; the message ends with its words.
        LookupError: what apt has installed is no server.
    """
    if SERVER.exists():
        return SERVER
    if not _PROGRAM.exists():
        run("apt-get", "update", "--quiet", timeout_s=_INSTALL_TIMEOUT_S)
        run(
            *("apt-get", "install", "--yes", "--no-install-recommends", PACKAGE),
            timeout_s=_INSTALL_TIMEOUT_S,
        )
    _LINK.parent.mkdir(parents=True, exist_ok=True)
    _LINK.unlink(missing_ok=True)
    _LINK.symlink_to(_PROGRAM)
    if not run(str(_LINK), "--version").startswith("Redis server"):
        raise LookupError(f"{_PROGRAM} of the package {PACKAGE} is no server")
    return _LINK


def main() -> int:
    """Print where the program is; return an exit code."""
    if not SERVER.exists() and os.geteuid() != 0:
        print("make test-redis needs root, to install Debian's Redis", file=sys.stderr)
        return 1
    try:
        server = debian_redis()
    except (ProcessFailedError, LookupError, OSError) as error:
        print(f"make test-redis needs Debian's Redis, and apt gives none here: {error}", file=sys.stderr)
        return 1
    print(f"on {run(str(server), '--version').strip()}", file=sys.stderr)
    print(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
