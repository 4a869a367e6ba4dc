"""Ports for what tests start: each is given to one process, and where nobody listens nobody will.

Several processes run tests at once, on a machine where others do, too. Each takes a block of ports for as long as it
lives, or several: it holds the block's first one, which it binds and never listens at. The rest it gives away in turn.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TypeVar

LOOPBACK = "127.0.0.1"
PORTS = range(10_000, 20_000)
"""What is given away. The system takes ports for outgoing connections from above 32,767."""
BESIDE = 10_000
"""So far above its port a server may listen once more, as Redis does in a cluster: nobody is given one of those."""
BLOCK = 100
_TRIES_MAX = 5
_TAKEN = ("address already in use", "port allocation failed")
"""What servers say of it; the second is SeaweedFS, whose own look at its ports comes first."""

Begun = TypeVar("Begun")


class PortTakenError(RuntimeError):
    """A server found a port taken that was free when it was given to it."""


@dataclass(frozen=True)
class _Block:
    """Ports of one process."""

    owner: int
    first: socket.socket
    rest: Iterator[int]

    @classmethod
    def take(cls) -> _Block:
        starts = list(PORTS[::BLOCK])
        turn = secrets.randbelow(len(starts))
        for start in starts[turn:] + starts[:turn]:
            held = socket.socket()
            if _binds(held, start):
                return cls(os.getpid(), held, cycle(range(start + 1, start + BLOCK)))
            held.close()
        raise PortTakenError(f"others have every block of ports in {PORTS}")


_lock = threading.Lock()
_blocks: list[_Block] = []


def _own_block() -> _Block:
    """Return the block of this process; one that was forked takes its own."""
    if not _blocks or _blocks[-1].owner != os.getpid():
        _blocks.append(_Block.take())
    return _blocks[-1]


def free_port() -> int:
    """Return a port that is free, and that no test is given but after all others of its block.

    A port may be taken for a minute after the server that had it has ended: where all are, there is another block.

    Raises:
        PortTakenError: other processes have all blocks.
    """
    with _lock:
        while True:
            for port in islice(_own_block().rest, BLOCK - 1):
                if _is_free(port) and _is_free(port + BESIDE):
                    return port
            _blocks.append(_Block.take())


def free_ports(count: int) -> list[int]:
    """Return that many different ports, which are fewer than a block has."""
    return [free_port() for _ in range(count)]


def closed_port() -> int:
    """Return the port where nobody listens as long as this process lives: who connects is refused."""
    with _lock:
        return int(_own_block().first.getsockname()[1])


def begun_at_a_free_port(begin: Callable[[], Begun]) -> Begun:
    """Return what ``begin`` begins at ports that it asks for; it begins again where somebody has taken one."""
    for _ in range(_TRIES_MAX - 1):
        try:
            return begin()
        except PortTakenError:
            continue
    return begin()


def not_ready(name: str, last_words: str) -> RuntimeError:
    """Return the error of a server that did not get ready: whether it is about a port, its last words say."""
    kind = PortTakenError if any(words in last_words.lower() for words in _TAKEN) else RuntimeError
    return kind(f"{name} did not get ready:\n{last_words}")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as one:
        return _binds(one, port)


def _binds(one: socket.socket, port: int) -> bool:
    try:
        one.bind((LOOPBACK, port))
    except OSError:
        return False
    return True


def answers(port: int) -> bool:
    """Tell whether somebody accepts connections there."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((LOOPBACK, port)) == 0
