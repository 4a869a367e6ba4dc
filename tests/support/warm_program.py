"""A program that has loaded all of memrepo, and makes a process of each worker or command that it is asked for.

It listens on the Unix socket that its argument names. A connection is one process: its place (see ``Order``) and the
files that it writes to come in; out come its process id, and how it ended once it has. A byte that comes in later is a
signal for it. Without their connection, and when this program's standard input ends, they are killed.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TypedDict

SAID = struct.Struct("!ci")
"""What is said of a process, and a number: ``p`` its id, ``k`` a signal was sent, ``x`` its exit code."""
LENGTH = struct.Struct("!I")

ENTRIES = {"worker": "tests.support.worker_process", "memrepo": "memrepo.__main__"}

LEFT_OUT = (
    "memrepo_worker/celery.py",
    "memrepo_worker/pytest_plugin.py",
    "memrepo_worker/testing",
    "memrepo_worker/tracing.py",
    "memrepo_worker/local/guard.py",
    "memrepo_worker/store/backends",
)
"""What looks at its process as it is loaded, is no part of a worker or command, or is large and seldom used."""

BESIDE = (
    "billiard.pool",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.concurrency.thread",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "encodings.idna",
    "kombu.matcher",
    "kombu.pidbox",
    "memrepo_worker.store.backends.local",
    "tests.support.fake_service",
    "tests.support.file_service",
    "tests.support.real_service",
    "tests.support.worker_process",
)
"""What a worker loads late."""


Entry = Callable[[], object]


class Order(TypedDict):
    """What a process is to be: its entry, arguments (the program's name first), environment and folder."""

    entry: str
    arguments: list[str]
    env: dict[str, str]
    cwd: str


def load() -> None:
    """Import what workers and commands import."""
    for package in ("memrepo", "memrepo_worker"):
        (top,) = import_module(package).__path__
        for file in sorted(Path(top).rglob("*.py")):
            name = file.relative_to(Path(top).parent).as_posix()
            if not name.startswith(LEFT_OUT) and not name.endswith("/__main__.py"):
                import_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    for module in BESIDE:
        import_module(module)


class Zygote:
    """Makes the processes; in each of them ``serve`` returns what it is to do."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{path}.new")
        self._listener.listen(64)
        Path(f"{path}.new").rename(path)  # who finds it is let in
        self._ended, self._wake = socket.socketpair()
        self._ended.setblocking(False)
        self._wake.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._by_pid: dict[int, socket.socket] = {}
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for who has asked for the processes
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)

    def serve(self) -> Entry:
        """Return in each process that was asked for; the program itself ends in here."""
        for source in (self._listener, self._ended, sys.stdin.buffer):
            self._selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    if entry := self._fork(self._listener.accept()[0]):
                        return entry
                elif key.fileobj is self._ended:
                    self._reap()
                elif key.data:
                    self._signal(key.data, key.fileobj)
                else:
                    for pid in self._by_pid:
                        os.kill(pid, signal.SIGKILL)
                    os._exit(0)

    def _fork(self, connection: socket.socket) -> Entry | None:
        order, files = _order(connection)
        if order is None:
            for file in (connection.fileno(), *files):
                os.close(file)
            connection.detach()
            return None
        until_it_is, is_it = os.pipe()
        if not (pid := os.fork()):
            os.setsid()  # as every process that tests start: a terminal's signals are for the tests alone
            self._forget()
            connection.close()
            os.close(until_it_is)
            with Path(os.devnull).open("rb") as nothing:
                os.dup2(nothing.fileno(), 0)
            for number, file in zip((1, 2), files, strict=True):
                os.dup2(file, number)
                os.close(file)
            entry = become(order)
            os.close(is_it)
            return entry
        for file in (*files, is_it):
            os.close(file)
        os.read(until_it_is, 1)  # returns at its end: from now on a signal finds what was asked for
        os.close(until_it_is)
        self._by_pid[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        connection.sendall(SAID.pack(b"p", pid))
        return None

    def _forget(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.default_int_handler)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._wake.close()
        self._selector.close()

    def _signal(self, pid: int, connection: object) -> None:
        assert isinstance(connection, socket.socket)
        asked = b""
        with suppress(ConnectionError):
            asked = connection.recv(1)
        if pid in self._by_pid:
            os.kill(pid, asked[0] if asked else signal.SIGKILL)
        if asked:
            connection.sendall(SAID.pack(b"k", 0))
        else:
            self._selector.unregister(connection)
            connection.close()

    def _reap(self) -> None:
        self._ended.recv(4096)
        while self._by_pid:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            connection = self._by_pid.pop(pid)
            with suppress(OSError):  # nobody asks for it any more
                connection.sendall(SAID.pack(b"x", os.waitstatus_to_exitcode(status)))


def _order(connection: socket.socket) -> tuple[Order | None, list[int]]:
    """Return what is asked for, and the files that came with it; None where who asked has ended meanwhile."""
    told, files, _, _ = socket.recv_fds(connection, LENGTH.size, 2)
    while len(told) < LENGTH.size or len(told) < LENGTH.size + LENGTH.unpack_from(told)[0]:
        more = connection.recv(1 << 16)
        if not more:
            return None, files
        told += more
    order: Order = json.loads(told[LENGTH.size :])
    return order, files


def become(order: Order) -> Entry:
    """Make this process what it is to be, and return its entry."""
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    sys.argv[:] = order["arguments"]
    sys.path[0] = order["cwd"] if order["entry"] == "worker" else str(Path(sys.argv[0]).parent)
    if "PYTHONUNBUFFERED" in order["env"]:
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    entry: Entry = import_module(ENTRIES[order["entry"]]).main
    return entry


if __name__ == "__main__":
    load()
    gc.collect()
    gc.freeze()  # a collection in a process made of this one would touch, and so copy, all of its memory
    sys.exit(Zygote(sys.argv[1]).serve()())  # type: ignore[arg-type]
