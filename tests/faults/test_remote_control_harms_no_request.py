"""Whatever remote control or Flower tells a worker under load: no commit is lost, doubled, reordered or stuck."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil
import pytest
from celery.worker.control import Panel
from flower.urls import handlers

from memrepo import Job, JobCancelledError, MemoryRepo, MemoryRepos, Settings
from memrepo.models import CommitResult
from memrepo.routing import route
from memrepo.settings import environment
from memrepo_worker.app import build_app
from memrepo_worker.queues.consumer import control  # noqa: F401 - registers its commands
from memrepo_worker.settings import WorkerSettings
from tests.support.commands import runs_now
from tests.support.flower import Ask, running_flower
from tests.support.systems import System, running_worker
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

PRESSES = 100 if environment().get("LONG") == "1" else 1
AGENTS = [f"agent-{number}" for number in range(5)]
TIMEOUT_S = 60
UNDER_WAY_MAX = 30
QUEUE = route("acme", AGENTS[0])
TASK = "memrepo.commit"

REFUSED: Mapping[str, Mapping[str, Any]] = {
    "add_consumer": {"queue": QUEUE},
    "cancel_consumer": {"queue": QUEUE},
    "pool_grow": {"n": 1},
    "pool_shrink": {"n": 1},
    "pool_restart": {"reload": False},
    "autoscale": {"max": 2, "min": 1},
    "rate_limit": {"task_name": TASK, "rate_limit": "1/h"},
    "time_limit": {"task_name": TASK, "hard": 1, "soft": 1},
    "election": {"id": "1", "topic": "x", "action": "y"},
    "objgraph": {"type": "bytes"},
}
ANSWERED: Mapping[str, Mapping[str, Any]] = {
    "revoke": {"task_id": "JOB"},
    "terminate": {"task_id": "JOB", "signal": "SIGKILL"},
    "revoke_by_stamped_headers": {"headers": {"a": ["b"]}},
    "hello": {"from_node": "another", "revoked": ["JOB"]},
    "query_task": {"ids": ["JOB"]},
    **{name: {} for name in ("ping", "heartbeat", "enable_events", "disable_events", "stats", "clock")},
    **{name: {} for name in ("active", "reserved", "scheduled", "revoked", "registered", "active_queues")},
    **{name: {} for name in ("dump_active", "dump_reserved", "dump_schedule", "dump_revoked", "dump_tasks")},
    **{name: {} for name in ("report", "conf", "dump_conf", "memsample", "memdump", "memrepo_counters")},
}
"""Every command of a worker but ``shutdown``, with arguments that would harm; JOB is the id of a commit under way."""

POSTS: Mapping[str, tuple[str, HTTPStatus]] = {
    "/api/worker/pool/restart/(.+)": ("WORKER", HTTPStatus.FORBIDDEN),
    "/api/worker/pool/grow/(.+)": ("WORKER?n=1", HTTPStatus.FORBIDDEN),
    "/api/worker/pool/shrink/(.+)": ("WORKER?n=1", HTTPStatus.FORBIDDEN),
    "/api/worker/pool/autoscale/(.+)": ("WORKER?min=1&max=2", HTTPStatus.FORBIDDEN),
    "/api/worker/queue/add-consumer/(.+)": (f"WORKER?queue={QUEUE}", HTTPStatus.FORBIDDEN),
    "/api/worker/queue/cancel-consumer/(.+)": (f"WORKER?queue={QUEUE}", HTTPStatus.FORBIDDEN),
    "/api/task/timeout/(.+)": (f"{TASK}?workername=WORKER&hard=1&soft=1", HTTPStatus.FORBIDDEN),
    "/api/task/rate-limit/(.+)": (f"{TASK}?workername=WORKER&ratelimit=1/h", HTTPStatus.FORBIDDEN),
    "/api/task/revoke/(.+)": ("JOB?terminate=true&signal=SIGKILL", HTTPStatus.OK),
    "/api/task/abort/(.+)": ("JOB", HTTPStatus.SERVICE_UNAVAILABLE),  # Flower asks the app of no project
    "/api/task/apply/(.+)": (TASK, HTTPStatus.OK),
    "/api/task/async-apply/(.+)": (TASK, HTTPStatus.OK),
    "/api/task/send-task/(.+)": (TASK, HTTPStatus.OK),
}
"""Whatever Flower can be told but ``SHUTDOWN``: what stands for the group of each path, and what it answers."""
SHUTDOWN = "/api/worker/shutdown/(.+)"


class Load:
    """Commits of some agents, in call order, until it is told to stop."""

    def __init__(self, repos: MemoryRepos) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._memories = {agent: repos.repo(org_id="acme", agent_id=agent) for agent in AGENTS}
        self._jobs: dict[str, list[Job[CommitResult]]] = {agent: [] for agent in AGENTS}

    def __enter__(self) -> Load:
        for memory in self._memories.values():
            memory.create_repo().result(timeout_s=TIMEOUT_S)
        self._thread.start()
        wait_for(lambda: all(self._jobs.values()), "each agent to have committed")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def newest(self) -> str:
        """The id of a commit that was just sent."""
        return self._jobs[AGENTS[-1]][-1].id

    def check(self) -> Counter[str]:
        """Every commit has ended, and history has each that was not cancelled, once, in call order."""
        ended: Counter[str] = Counter()
        for agent, memory in self._memories.items():
            expected = []
            for number, job in enumerate(self._jobs[agent]):
                try:
                    assert job.result(timeout_s=TIMEOUT_S).created
                    expected.append(f"commit {number}")
                except JobCancelledError:
                    ended["cancelled"] += 1
            assert messages(memory) == expected
            ended["done"] += len(expected)
        return ended

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for agent, jobs in self._jobs.items():
                jobs.append(self._memories[agent].commit({"n.md": f"{len(jobs)}\n"}, f"commit {len(jobs)}"))
                if len(jobs) > UNDER_WAY_MAX:
                    with suppress(JobCancelledError):
                        jobs[-UNDER_WAY_MAX].result(timeout_s=TIMEOUT_S)


def messages(memory: MemoryRepo) -> list[str]:
    """What was committed after the first commit, oldest first."""
    found: list[str] = []
    after = None
    while commits := memory.get_history(limit=1000, after=after).result(timeout_s=TIMEOUT_S):
        found += [commit.message for commit in commits]
        after = commits[-1].sha
    return found[-2::-1]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("controlled")) as server:
        yield server


@pytest.mark.timeout(60 * PRESSES)
def test_everything_that_can_be_pressed_is_pressed_under_load(broker: Valkey, tmp_path: Path) -> None:
    store = (tmp_path / "store").as_uri()
    settings = Settings(broker.database(0), broker.database(0), enqueue_timeout_s=60)
    (tmp_path / "flower").mkdir()
    with (
        MemoryRepos(settings=settings) as repos,
        running_worker(tmp_path / "w1", broker, store) as system,
        running_flower(tmp_path / "flower", system.broker_url, lambda ask: bool(worker_of(ask))) as flower,
        ExitStack() as second,
    ):
        with Load(repos) as load:
            command_by_remote_control(system, load)
            worker = worker_of(flower)
            press_in_flower(flower, worker, load)
            press(flower, SHUTDOWN, worker)
            wait_for(lambda: not runs_now(psutil.Process(system.worker_pid)), "the worker to end")
            second.enter_context(running_worker(tmp_path / "w2", broker, store))
        ended = load.check()
    print(f"{PRESSES} presses each: {dict(ended)}")
    assert ended["done"] > ended["cancelled"]
    for log in tmp_path.glob("w?/*.log"):
        assert "ERROR" not in log.read_text()


def command_by_remote_control(system: System, load: Load) -> None:
    with build_app(WorkerSettings(broker_url=system.broker_url, result_url=system.broker_url)) as celery:
        for name, arguments in {**ANSWERED, **REFUSED}.items():
            for _ in range(PRESSES):
                filled = json.loads(json.dumps(arguments).replace("JOB", load.newest))
                [reply] = celery.control.broadcast(name, arguments=filled, reply=True, timeout=10, limit=1)
                [said] = reply.values()
                refused = isinstance(said, dict) and said.get("error", "").startswith("nothing was changed: ")
                assert refused == (name in REFUSED), (name, said)


def press_in_flower(flower: Ask, worker: str, load: Load) -> None:
    for path, (asked, status) in POSTS.items():
        for _ in range(PRESSES):
            found, said = press(flower, path, asked.replace("JOB", load.newest).replace("WORKER", worker))
            assert found == status, (path, said)
            assert ("nothing was changed: " in said) == (status == HTTPStatus.FORBIDDEN), (path, said)


def press(flower: Ask, path: str, asked: str) -> tuple[int, str]:
    body = b'{"args": [1], "timeout": 0.1}' if asked == TASK else b""
    try:
        return HTTPStatus.OK, flower(path.replace("(.+)", asked), data=body)
    except HTTPError as error:
        return error.code, error.read().decode()


def worker_of(flower: Ask) -> str:
    """Return the name of the worker that Flower knows."""
    return next(iter(json.loads(flower("/api/workers?refresh=true"))), "")


def test_nothing_that_can_be_pressed_is_left_out() -> None:
    assert set(Panel.data) - {"shutdown", "cancel_behind"} == {*REFUSED, *ANSWERED}
    told = {rule[0] for rule in handlers if isinstance(rule, tuple) and "post" in vars(rule[1])}
    assert {path for path in told if path.startswith("/api/")} == {*POSTS, SHUTDOWN}
