"""The broker's clock jumps by a day and an hour while a request is on its way: it is there once, and that is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from memrepo import CommitResult, Job, MemoryRepo, MemoryRepos, Settings
from memrepo.settings import environment
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.backends.local import LocalStore
from tests.root.fake_clock import SkewedValkey, skewed_valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, WorkerProcess, fleet

LONG = environment().get("LONG") == "1"
HOUR_S = 3600.0
LEASE_S = 2.0
TIMEOUT_S = 120.0
LARGE = "x" * 200_000

STEPS = (
    "commit",
    "waits in its queue",
    "waits with a large body",
    "tried again",
    "flush",
    "take over",
    "answer lost",
    "sent again",
    "cancelled when it was done",
)


class Site:
    """A producer, a worker with the real service, and a broker whose clock jumps where a step says; an agent a case."""

    def __init__(
        self, broker: SkewedValkey, workers: WorkerFleet, folder: Path, repos: MemoryRepos, settings: Settings
    ) -> None:
        self.broker = broker
        self.workers = workers
        self.folder = folder
        self.repos = repos
        self.settings = settings
        self.told: dict[str, CommitResult] = {}
        self.jump: Callable[[], None] = lambda: None
        self.worker = self.start()
        self.agent_id = ""

    def begin(self, agent_id: str) -> None:
        """Let the clock be right, and begin an agent's memory."""
        self.broker.set(0)
        self.told.clear()
        self.agent_id = agent_id
        self.repo.create_repo().result(timeout_s=TIMEOUT_S)

    @property
    def repo(self) -> MemoryRepo:
        return self.repos.repo(org_id="acme", agent_id=self.agent_id)

    @property
    def prefix(self) -> str:
        return f"acme/{self.agent_id}/repo.git/"

    def step(self, name: str) -> None:
        getattr(self, "_" + name.replace(" ", "_"))()

    def messages(self) -> list[str]:
        """The messages in history, oldest first."""
        found = self.repo.get_history(limit=100).result(timeout_s=TIMEOUT_S)
        return [one.message for one in reversed(found)]

    def start(self, answer_s: float = 0.0) -> WorkerProcess:
        argument = {"folder": str(self.folder), "delay_s": 0, "answer_s": answer_s}
        self.workers.argument = argument
        worker = self.workers.start()
        wait_for(lambda: "ready: " in worker.output, "the worker to be ready", TIMEOUT_S)
        return worker

    def _ask(self, message: str, content: str = "x") -> Job[CommitResult]:
        job = self.repo.commit({"a.md": content + message}, message, request_id=f"the-id-of-{message}")
        job.wait_enqueued()
        return job

    def _hear(self, job: Job[CommitResult]) -> None:
        result = job.result(timeout_s=TIMEOUT_S)
        assert self.told.setdefault(result.message, result).sha == result.sha

    def _commit(self) -> None:
        self.jump()
        self._hear(self._ask("once"))

    def _waits_in_its_queue(self, content: str = "x") -> None:
        self.worker.pause()
        job = self._ask(f"waits-{len(content)}", content)
        self.jump()
        self.worker.resume()
        self._hear(job)

    def _waits_with_a_large_body(self) -> None:
        self._waits_in_its_queue(LARGE)

    def _tried_again(self) -> None:
        job = self._refused("tried-again")
        self.jump()
        self._heard_when_mended(job)

    def _take_over(self) -> None:
        job = self._refused("taken-over")
        self.worker.kill()
        self.jump()
        self.worker = self.start()
        self._heard_when_mended(job)

    def _answer_lost(self) -> None:
        self._flush(answer_s=30.0)
        before = self._entries()
        job = self._ask("answer-lost")
        wait_for(lambda: self._entries() > before, "the entry to be there", TIMEOUT_S)
        self.worker.kill()
        self.jump()
        self.worker = self.start()
        self._hear(job)

    def _flush(self, answer_s: float = 0.0) -> None:
        self.worker.terminate()
        self.jump()
        self.worker.process.wait(TIMEOUT_S)
        self.worker = self.start(answer_s)

    def _sent_again(self) -> None:
        self.jump()
        self._hear(self._ask("once"))

    def _cancelled_when_it_was_done(self) -> None:
        job = self._ask("done")
        self._hear(job)
        self.jump()
        with MemoryRepos(settings=self.settings) as others:
            other = others.job(job.id)
            other.cancel()
            assert other.status() != "cancelled", "it is in history"

    def _entries(self) -> int:
        return len([*LocalStore(self.folder / "store").list(f"{self.prefix}journal/")])

    def _refused(self, message: str) -> Job[CommitResult]:
        (self.folder / "refuses").write_text(f"refuses {self.prefix}\n")
        job = self._ask(message)
        wait_for(lambda: job.status() == "retrying", "it to be tried again", TIMEOUT_S)
        return job

    def _heard_when_mended(self, job: Job[CommitResult]) -> None:
        (self.folder / "refuses").unlink()
        self._hear(job)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("skewed")
    with ExitStack() as stack:
        broker = stack.enter_context(skewed_valkey(folder))
        url = broker.server.url
        settings = WorkerSettings(broker_url=url, result_url=url, shards=2, concurrency=2, lease_s=LEASE_S)
        service = "tests.support.real_service:real_service"
        workers = stack.enter_context(fleet(folder / "workers", settings, service))
        client = Settings(url, url, shards=2, enqueue_timeout_s=TIMEOUT_S, resend_after_s=1)
        with MemoryRepos(settings=client) as repos:
            yield Site(broker, workers, folder, repos, client)


@pytest.mark.parametrize("stays", [True, False], ids=["for good", "for one step"])
@pytest.mark.parametrize("jump_s", [25 * HOUR_S, -25 * HOUR_S], ids=["forward", "back"])
@pytest.mark.parametrize("at", STEPS)
def test_it_is_there_once_and_its_caller_is_told(site: Site, at: str, jump_s: float, stays: bool) -> None:
    site.begin(f"agent-{STEPS.index(at)}-{jump_s:.0f}-{stays}")
    for name in STEPS if LONG else dict.fromkeys(("commit", at, "sent again")):
        site.jump = (lambda: site.broker.set(jump_s)) if name == at else (lambda: None)
        site.step(name)
        if not stays:
            site.broker.set(0)

    messages = site.messages()
    assert [one for one in set(messages) if messages.count(one) > 1] == []
    assert set(site.told) == set(messages) - {"Initial commit"}
