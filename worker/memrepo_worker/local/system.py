"""The whole of memrepo on one machine, as the children of one process."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from celery import Celery
from kombu.exceptions import OperationalError

from memrepo.cells import CELLS_SETTING
from memrepo.cli.up_state import announced, under_way
from memrepo.redis.address import masked, parse_redis_url
from memrepo.redis.celery_app import OwnCelery
from memrepo.wire.agreement import CellsRecord
from memrepo_worker.local.broker import EmbeddedBroker
from memrepo_worker.local.children import PYTHON, Child, Children
from memrepo_worker.local.guard import BROKER, GUARD_LOCK
from memrepo_worker.local.ports import HOST, PortTakenError, PortWish
from memrepo_worker.processes import Processes
from memrepo_worker.queues.leases.agreement import accept_cells, recorded_store
from memrepo_worker.queues.reach import reaching
from memrepo_worker.store.identity import read_identity
from memrepo_worker.store.open import open_store

WORKER, FLOWER, GUARD = "worker", "flower", "guard"
START_TIMEOUT_S = 60.0  # a long append-only file is read first
STOP_GRACE_S = 30.0
_LOCK = "up.lock"
_PORTS_TRIED_MAX = 3

Question = Callable[[], bool]


class SystemStartError(Exception):
    """The system did not start; nothing of it is left running. The message says why."""


class SystemConflictError(SystemStartError):
    """Another system runs on the same data, or somebody has a port that was asked for."""


@dataclass(frozen=True)
class SystemPlan:
    """What shall run, and where it keeps its data.

    ``broker_url`` names a Redis that runs already; empty means the embedded broker on ``broker_port``, or one for each
    of ``cells``, where there are several.
    ``flower_auth`` is ``user:password``; ``env`` is what the children's environment is made from.
    """

    data: Path
    store_url: str
    broker_url: str
    broker_port: PortWish
    flower_port: PortWish
    flower_auth: str
    env: Mapping[str, str]
    cells: Sequence[str] = ("",)

    @property
    def cache_dir(self) -> Path:
        """Where the worker keeps its warm repositories."""
        return self.data / "cache"


@dataclass(frozen=True)
class RunningSystem:
    """What runs where. ``broker_urls`` are by the names of the cells, one without a name if there is one broker.

    ``flower_urls`` are theirs, and there are none where Flower is not installed. ``variables`` are the settings that
    lead others here, as variables of the environment.
    """

    broker_urls: Mapping[str, str]
    store_url: str
    flower_urls: Mapping[str, str]
    children: Children
    variables: Mapping[str, str]

    @property
    def broker_url(self) -> str:
        """The address of the one broker, or of the first cell's."""
        return next(iter(self.broker_urls.values()))

    @property
    def flower_url(self) -> str:
        """The address of the one Flower, or of the first cell's; empty where none is installed."""
        return next(iter(self.flower_urls.values()), "")

    def wait(self, stopped: Question) -> Child | None:
        """Wait until ``stopped`` or until a child ended by itself; return that child."""
        while not stopped():
            dead = self.children.first_dead()
            if dead is not None:
                return dead
            time.sleep(0.1)
        return None


@contextmanager
def running_system(
    plan: SystemPlan, processes: Processes, *, stopped: Question, hurried: Question
) -> Iterator[RunningSystem]:
    """Run broker, worker and Flower; at the end stop the broker last, since workers hand over through it.

    ``stopped`` ends the start early, ``hurried`` ends the waiting for a child that was asked to end.

    Raises:
        SystemStartError: something did not start.
        SystemConflictError: another system runs on the same data, or a port that was asked for is taken.
    """
    children = Children(processes, plan.data / "run")
    children.folder.mkdir(parents=True, exist_ok=True)
    with _alone(children.folder):
        try:
            system = _Start(plan, children, stopped).all()
            with announced(plan.data, system.variables):
                yield system
        except PortTakenError as error:
            raise SystemConflictError(str(error)) from error
        finally:
            for names in ((FLOWER, WORKER), (BROKER,), (GUARD,)):
                children.stop(names, STOP_GRACE_S, hurried)


@dataclass(frozen=True)
class _Listening:
    """A child that is to listen at a port, its address, and whether it does so by now."""

    child: Child
    url: str
    ready: Question

    @property
    def lost_its_port(self) -> bool:
        """Whether it ended because somebody has the port."""
        return self.child.dead and os.strerror(errno.EADDRINUSE) in self.child.last_words(20)


@dataclass(frozen=True)
class _Start:
    plan: SystemPlan
    children: Children
    stopped: Question

    def all(self) -> RunningSystem:
        # Ports first: nothing has been started yet where one cannot be had.
        broker_ports, flower_ports = self._ports()
        self._guard()
        brokers = {"": self.plan.broker_url} if self.plan.broker_url else self._brokers(broker_ports)
        workers = {cell: self._worker(brokers, cell) for cell in brokers}
        flowers = {cell: self._flower(brokers, cell, port) for cell, port in flower_ports.items()}
        for cell, (worker, name) in workers.items():
            self._wait_serving(worker, name, brokers[cell])
        flower_urls = {
            cell: self._wait_listening(
                flower, self._wish(self.plan.flower_port, cell), partial(self._flower, brokers, cell)
            ).url
            for cell, flower in flowers.items()
        }
        return RunningSystem(
            brokers, self.plan.store_url, flower_urls, self.children, self._variables(brokers)
        )

    def _ports(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return a port for each broker and each Flower that is to run."""
        wanted = {} if self.plan.broker_url else dict.fromkeys(self.plan.cells, self.plan.broker_port)
        flowers = dict.fromkeys(self.plan.cells, self.plan.flower_port) if _flower_is_installed() else {}
        return (
            {cell: self._wish(wish, cell).take() for cell, wish in wanted.items()},
            {cell: self._wish(wish, cell).take() for cell, wish in flowers.items()},
        )

    def _wish(self, wish: PortWish, cell: str) -> PortWish:
        """Return the port that a cell's part is to have: the first gets what was asked for, the others any."""
        return wish if cell == self.plan.cells[0] else PortWish(0)

    def _brokers(self, ports: Mapping[str, int]) -> Mapping[str, str]:
        """Start the embedded brokers; return their addresses once they serve this store, as these cells."""
        started = {cell: self._broker(cell, port) for cell, port in ports.items()}
        urls = {
            cell: self._wait_listening(
                broker, self._wish(self.plan.broker_port, cell), partial(self._broker, cell)
            ).url
            for cell, broker in started.items()
        }
        for cell, url in urls.items():
            self._require_its_store(url)
            with reaching(parse_redis_url(url, "MEMREPO_BROKER_URL"), "broker") as broker:
                accept_cells(broker, CellsRecord.of(cell, filter(None, urls)))  # nobody else uses them
        return urls

    def _guard(self) -> None:
        self.children.forget_earlier()
        arguments = [*PYTHON, "-m", "memrepo_worker.local.guard", str(os.getpid()), str(self.children.folder)]
        self.children.start(GUARD, arguments, self.plan.env)

    def _broker(self, cell: str, port: int) -> _Listening:
        broker = EmbeddedBroker.prepare(self.plan.data / self._named(BROKER, cell), port)
        child = self.children.start(self._named(BROKER, cell), broker.arguments, self.plan.env)
        return _Listening(child, broker.url, lambda: broker.answering_pid() == child.process.pid)

    def _require_its_store(self, broker_url: str) -> None:
        """Refuse another store than the one that this folder's broker has served: its workers would refuse it, too."""
        store = open_store(self.plan.store_url)
        with reaching(parse_redis_url(broker_url, "MEMREPO_BROKER_URL"), "broker") as broker:
            recorded = recorded_store(broker)
        if recorded is not None and recorded.id != read_identity(store):
            raise SystemConflictError(
                f"{self.plan.data} was used with another store, {recorded}, and not with {masked(store.name)}. Name "
                f"that store, or give another folder with --data; or remove {self.plan.data / 'broker'}, and with it "
                "what may still wait there"
            )

    def _named(self, kind: str, cell: str) -> str:
        """Return the name of a cell's part; the first's are named as those of a single broker, whose data they take."""
        return kind if cell == self.plan.cells[0] else f"{kind}-{cell}"

    def _worker(self, brokers: Mapping[str, str], cell: str) -> tuple[Child, str]:
        name = f"up-{self._named(str(os.getpid()), cell)}@{socket.gethostname()}"
        arguments = [*PYTHON, "-m", "memrepo_worker", "worker", "--name", name, "--supervised", "0"]
        env = self._worker_env(brokers, cell)
        return self.children.start(self._named(WORKER, cell), arguments, env, lifeline=True), name

    def _wait_serving(self, worker: Child, name: str, broker_url: str) -> None:
        address = parse_redis_url(broker_url, "MEMREPO_BROKER_URL")
        with OwnCelery(address, address) as celery:
            celery.connect_as_client()
            self._wait(worker, lambda: _answers(celery, name))

    def _flower(self, brokers: Mapping[str, str], cell: str, port: int) -> _Listening:
        env = {**self._worker_env(brokers, cell), "MEMREPO_FLOWER_BASIC_AUTH": self.plan.flower_auth}
        arguments = [*PYTHON, "-m", "memrepo_worker", "flower", "--address", HOST, "--port", str(port)]
        child = self.children.start(self._named(FLOWER, cell), arguments, env)
        return _Listening(child, f"http://{HOST}:{port}", lambda: _is_flower(port))

    def _worker_env(self, brokers: Mapping[str, str], cell: str) -> dict[str, str]:
        env = {**self.plan.env, **self._variables(brokers)}
        if not cell:
            return env
        if cell != self.plan.cells[0] and env.get("MEMREPO_METRICS_PORT"):
            env["MEMREPO_METRICS_PORT"] = "0"  # the first has the one that was asked for
        return {**env, "MEMREPO_CELL": cell}

    def _variables(self, brokers: Mapping[str, str]) -> dict[str, str]:
        """Return what leads others here: the addresses, and all else that was set for memrepo but Flower's."""
        set_here = {
            name: value
            for name, value in self.plan.env.items()
            if name.startswith("MEMREPO_") and not name.startswith("MEMREPO_FLOWER_") and value
        }
        cells = " ".join(f"{cell}={url}" for cell, url in brokers.items() if cell)
        return {
            **set_here,
            **({CELLS_SETTING: cells} if cells else {"MEMREPO_BROKER_URL": brokers[""]}),
            "MEMREPO_STORE_URL": self.plan.store_url,
            "MEMREPO_CACHE_DIR": str(self.plan.cache_dir),
        }

    def _wait_listening(
        self, listening: _Listening, wish: PortWish, start: Callable[[int], _Listening]
    ) -> _Listening:
        """Wait until a child listens; one whose port somebody took meanwhile is started at another, if any will do."""
        for _ in range(_PORTS_TRIED_MAX - 1):
            try:
                self._wait(listening.child, listening.ready)
            except SystemStartError:
                if wish.is_fixed or not listening.lost_its_port:
                    raise
                self.children.forget(listening.child)
                listening = start(PortWish(0).take())
            else:
                return listening
        self._wait(listening.child, listening.ready)
        return listening

    def _wait(self, child: Child, ready: Question) -> None:
        """Wait until a child is ready."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while child.dead or not ready():
            if child.dead:
                raise SystemStartError(f"the {child.name} ended at once. Its log says:\n{child.last_words()}")
            if self.stopped():
                raise SystemStartError("stopped before everything was running")
            if time.monotonic() > deadline:
                raise SystemStartError(
                    f"the {child.name} was not ready within {START_TIMEOUT_S:.0f} s. Its log is {child.log}"
                )
            time.sleep(0.02)


def _flower_is_installed() -> bool:
    return importlib.util.find_spec("flower") is not None


def _answers(celery: Celery, worker_name: str) -> bool:
    with suppress(OperationalError):
        return bool(celery.control.ping([worker_name], timeout=0.3))
    return False


def _is_flower(port: int) -> bool:
    """Whether Flower answers there, and not somebody who took its port before it did."""
    with suppress(OSError, HTTPException):
        connection = HTTPConnection(HOST, port, timeout=1)
        try:
            connection.request("GET", "/healthcheck")
            return connection.getresponse().read() == b"OK"
        finally:
            connection.close()
    return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone; wait for the guard of one that was killed."""
    with (folder / _LOCK).open("a") as lock, (folder / GUARD_LOCK).open("a") as guard:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SystemConflictError(f"{folder.parent} is in use by another `memrepo up`") from None
        fcntl.flock(guard, fcntl.LOCK_EX)
        fcntl.flock(guard, fcntl.LOCK_UN)
        with under_way(folder.parent):
            yield
