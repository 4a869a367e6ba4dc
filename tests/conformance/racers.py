"""Writers that race for one key: threads of one process, and processes.

As a program: ``python -m tests.conformance.racers HOST PORT`` is one of the processes.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from memrepo_worker.store.interface import ABSENT, PreconditionFailedError, Store, UnavailableError, When
from memrepo_worker.store.open import open_store
from tests.support.ports import LOOPBACK
from tests.support.started import started

PROCESSES = 4
READY, GO, WON, LOST = b"ready", b"go", b"won", b"lost"


class RacingProcesses:
    """Processes that wait for races."""

    def __init__(self, racers: Sequence[Connection]) -> None:
        self._racers = racers

    def race(self, address: str, key: str) -> list[bool]:
        """Let every process create the key at the same moment, each with a body of its own, and tell who won."""
        for number, racer in enumerate(self._racers):
            racer.send_bytes(json.dumps({"address": address, "key": key, "number": number}).encode())
        assert [racer.recv_bytes() for racer in self._racers] == [READY] * PROCESSES
        for racer in self._racers:
            racer.send_bytes(GO)
        return [racer.recv_bytes() == WON for racer in self._racers]


@contextmanager
def racing_processes(folder: Path, env: Mapping[str, str]) -> Iterator[RacingProcesses]:
    """Run the processes until the block ends."""
    root = Path(__file__).parents[2]
    with ExitStack() as stack:
        listener = stack.enter_context(Listener((LOOPBACK, 0)))
        host, port = listener.address
        command = [sys.executable, "-m", "tests.conformance.racers", str(host), str(port)]
        for number in range(PROCESSES):
            own = folder / str(number)
            own.mkdir()
            stack.enter_context(
                started(command, folder=own, ready=lambda: True, env={**env, "PYTHONPATH": str(root)})
            )
        yield RacingProcesses([stack.enter_context(listener.accept()) for _ in range(PROCESSES)])


def take_part(starter: Connection) -> None:
    """Race whenever told to, until the other side hangs up."""
    while True:
        try:
            race = json.loads(starter.recv_bytes())
        except EOFError:
            return
        store = _opened(race["address"])
        starter.send_bytes(READY)
        assert starter.recv_bytes() == GO
        starter.send_bytes(WON if wins(store, race["key"], body_of(race["number"]), ABSENT) else LOST)


@cache
def _opened(address: str) -> Store:
    return open_store(address)


def body_of(number: int) -> bytes:
    """Return a body that tells who wrote it."""
    return f"written by {number}\n".encode() * 50


def race_threads(store: Store, key: str, when: When, racers: int) -> list[bool]:
    """Let threads put one key at the same moment, and tell who won."""
    barrier = threading.Barrier(racers)

    def put(number: int) -> bool:
        barrier.wait(timeout=30)
        return wins(store, key, body_of(number), when)

    with ThreadPoolExecutor(racers) as threads:
        return list(threads.map(put, range(racers)))


def wins(store: Store, key: str, body: bytes, when: When) -> bool:
    """Put as the journal does: when the store does not say what became of it, read back."""
    try:
        store.put(key, body, when)
    except PreconditionFailedError:
        return False
    except UnavailableError:
        return store.get(key).data == body
    return True


if __name__ == "__main__":
    with Client((sys.argv[1], int(sys.argv[2]))) as connection:
        take_part(connection)
