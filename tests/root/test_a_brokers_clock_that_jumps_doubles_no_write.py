"""The broker's clock jumps by a day and an hour at a step of each kind of write: it is settled once, and told alike.

All kinds go the same way at a time, each in a memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from memrepo import Job, MemoryRepos, Settings
from memrepo.clock import system_clock
from memrepo.ids import new_id
from memrepo.settings import environment
from memrepo.several_cells import dispatcher_of
from memrepo.wire.operations import OPERATIONS
from memrepo.wire.requests.base import Request
from memrepo_worker.git.pack_sizes import find_blob
from memrepo_worker.journal.entry import decode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import decode_lines
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.backends.local import LocalStore
from tests.root.fake_clock import SkewedValkey, skewed_valkey
from tests.service.test_every_write_is_applied_once import FIRST_HEAD, PREPARED, WRITES, asked
from tests.support.jobs import present
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, WorkerProcess, fleet

LONG = environment().get("LONG") == "1"
HOUR_S = 3600.0
JUMPS_S = (25 * HOUR_S, -25 * HOUR_S)
LEASE_S = 2.0
TIMEOUT_S = 120.0
LEDGER_BYTES_MAX = 1 << 20
PREPARING = (*PREPARED, asked("create_branch", "prepare-6", name="v2", start_point="main~1"))


class Site:
    """A producer, a worker with the real service over a folder, and a broker whose clock is set."""

    def __init__(
        self, broker: SkewedValkey, workers: WorkerFleet, folder: Path, settings: Settings, stack: ExitStack
    ) -> None:
        self.broker = broker
        self._workers = workers
        self._folder = folder
        self._dispatcher = dispatcher_of(settings, blocks=True)
        stack.enter_context(MemoryRepos.over(self._dispatcher))
        self.worker = self.start()

    def start(self) -> WorkerProcess:
        worker = self._workers.start()
        wait_for(lambda: "ready: " in worker.output, "the worker to be ready", TIMEOUT_S)
        return worker

    def send(self, request: Request) -> Job[Any]:
        """Send a request as its producer makes it now."""
        made = request.model_copy(update={"enqueued_at": system_clock()})
        job: Job[Any] = self._dispatcher.submit(OPERATIONS[made.OPERATION], made, new_id())
        return job

    def prepare(self, case: str) -> dict[str, Request]:
        """Begin a memory for each kind of write; return the writes, as they are asked there."""
        names = {name: f"{case}-{number}" for number, name in enumerate(WRITES)}
        begun = [[self.send(of(agent_id, each)) for each in PREPARING] for agent_id in names.values()]
        writes = {}
        for (name, agent_id), jobs in zip(names.items(), begun, strict=True):
            first, *_ = [job.result(timeout_s=TIMEOUT_S) for job in jobs]
            writes[name] = of(agent_id, WRITES[name], first.sha)
        return writes

    def refuse(self, *, refuses: bool) -> None:
        """Have the store refuse everybody's keys, or nobody's."""
        file = self._folder / "refuses"
        if refuses:
            file.write_text("refuses acme/\n")
        else:
            file.unlink()

    def settled(self, write: Request) -> int:
        """How many entries have settled a write, in its own memory or in one that it makes."""
        store = LocalStore(self._folder / "store")
        found = 0
        for agent_id in {write.agent_id, getattr(write, "new_agent_id", write.agent_id)}:
            layout = Layout.of(write.org_id, agent_id)
            for item in store.list(layout.journal):
                if data := store.get(item.key).data:
                    entry = decode_entry(present(layout.entry_seq(item.key)), data)
                    ledger = present(find_blob(entry.pack, entry.ledger_sha, LEDGER_BYTES_MAX))
                    found += sum(line.request_id == write.request_id for line in decode_lines(ledger))
        return found


def of(agent_id: str, request: Request, first_sha: str = "") -> Request:
    """Return a request of the table as it is asked of an agent."""
    is_new = request.OPERATION == "create_repo" and request.request_id == "the-write"
    changed: dict[str, object] = {
        "agent_id": f"{agent_id}-new" if is_new else agent_id,
        "request_id": f"{request.request_id}-{agent_id}",
    }
    if hasattr(request, "new_agent_id"):
        changed["new_agent_id"] = f"{agent_id}-new"
    if getattr(request, "expected_head", None) == FIRST_HEAD:
        changed["expected_head"] = first_sha
    return request.model_copy(update=changed)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("skewed-writes")
    with ExitStack() as stack:
        broker = stack.enter_context(skewed_valkey(folder))
        url = broker.server.url
        settings = WorkerSettings(broker_url=url, result_url=url, shards=2, concurrency=2, lease_s=LEASE_S)
        service = "tests.support.real_service:real_service"
        workers = stack.enter_context(fleet(folder / "workers", settings, service))
        workers.argument = {"folder": str(folder), "delay_s": 0}
        client = Settings(url, url, shards=2, enqueue_timeout_s=TIMEOUT_S, resend_after_s=1)
        yield Site(broker, workers, folder, client, stack)


class Way:
    """Writes of all kinds on their way, each in a memory of its own; what was told of them, and the clock's jump."""

    def __init__(self, site: Site, case: str, jump_s: float) -> None:
        self.site = site
        site.broker.set(0)
        self.writes = site.prepare(case)
        self.answers: dict[str, set[object]] = {name: set() for name in WRITES}
        self._jump_s = jump_s

    def jump(self) -> None:
        self.site.broker.set(self._jump_s)

    def send(self) -> dict[str, Job[Any]]:
        return {name: self.site.send(write) for name, write in self.writes.items()}

    def send_until_refused(self) -> dict[str, Job[Any]]:
        """Send all to a worker whose store refuses them; return once each was tried."""
        self.site.refuse(refuses=True)
        jobs = self.send()
        tried: set[str] = set()

        def all_tried() -> bool:
            tried.update(name for name, job in jobs.items() if job.status() == "retrying")
            return tried == jobs.keys()

        wait_for(all_tried, "each to be tried", TIMEOUT_S)
        return jobs

    def hear(self, jobs: Mapping[str, Job[Any]]) -> None:
        """Hear one answer of each."""
        for name, job in jobs.items():
            self.answers[name].add(getattr(job.result(timeout_s=TIMEOUT_S), "sha", None))


def asked_after_it(way: Way) -> None:
    way.jump()
    way.hear(way.send())


def while_it_waits_in_its_queue(way: Way) -> None:
    way.site.worker.pause()
    jobs = way.send()
    way.jump()
    way.site.worker.resume()
    way.hear(jobs)


def before_it_is_tried_again(way: Way) -> None:
    jobs = way.send_until_refused()
    way.jump()
    way.site.refuse(refuses=False)
    way.hear(jobs)


def before_another_takes_over(way: Way) -> None:
    jobs = way.send_until_refused()
    way.site.worker.kill()
    way.jump()
    way.site.worker = way.site.start()
    way.site.refuse(refuses=False)
    way.hear(jobs)


def when_its_worker_was_killed_at_work(way: Way) -> None:
    jobs = way.send()
    wait_for(lambda: any(map(way.site.settled, way.writes.values())), "one to be settled", TIMEOUT_S)
    way.site.worker.kill()
    way.jump()
    way.site.worker = way.site.start()
    way.hear(jobs)


def while_its_worker_flushes(way: Way) -> None:
    way.hear(way.send())
    way.site.worker.terminate()
    way.jump()
    way.site.worker.process.wait(TIMEOUT_S)
    way.site.worker = way.site.start()


def before_it_is_sent_again(way: Way) -> None:
    way.hear(way.send())
    way.jump()


STEPS: Sequence[Callable[[Way], None]] = (
    asked_after_it,
    while_it_waits_in_its_queue,
    before_it_is_tried_again,
    before_another_takes_over,
    when_its_worker_was_killed_at_work,
    while_its_worker_flushes,
    before_it_is_sent_again,
)
"""When the clock jumps."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("jump_s", JUMPS_S, ids=["forward", "back"])
@pytest.mark.parametrize("at", STEPS, ids=lambda step: step.__name__)
def test_a_write_of_each_kind_is_settled_once_and_told_in_one_way(
    site: Site, at: Callable[[Way], None], jump_s: float
) -> None:
    number = STEPS.index(at) + JUMPS_S.index(jump_s)
    for stays in (True, False) if LONG else [number % 2 == 0]:
        way = Way(site, f"{STEPS.index(at)}-{JUMPS_S.index(jump_s)}-{stays}", jump_s)
        at(way)
        if not stays:
            site.broker.set(0)
        way.hear(way.send())

        once = dict.fromkeys(WRITES, 1)
        assert {name: site.settled(write) for name, write in way.writes.items()} == once
        assert {name: len(answers) for name, answers in way.answers.items()} == once
