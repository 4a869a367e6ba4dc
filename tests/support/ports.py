"""Ports that nobody listens on."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"
_BELOW_EPHEMERAL = range(10_000, 32_000)
"""The system gives none of these to outgoing connections, so a port that is free stays free for a while."""


def free_ports(count: int) -> list[int]:
    """Return that many different ports; take them soon, others may."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            one = held.enter_context(socket.socket())
            port = secrets.choice(_BELOW_EPHEMERAL)
            try:
                one.bind((LOOPBACK, port))
            except OSError:
                continue
            found.append(port)
    return found


def free_port() -> int:
    """Return one port."""
    return free_ports(1)[0]


def answers(port: int) -> bool:
    """Tell whether somebody accepts connections there."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((LOOPBACK, port)) == 0
