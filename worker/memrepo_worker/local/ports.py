"""TCP ports of this machine."""

from __future__ import annotations

import socket
from contextlib import closing

HOST = "127.0.0.1"


def port_or_free(wanted: int) -> int:
    """Return the wanted port if nobody listens on it, else one that is free now. 0 wants any."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            return port_or_free(0)
        return int(probe.getsockname()[1])
