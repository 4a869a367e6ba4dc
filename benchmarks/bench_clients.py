"""What a client costs by what it waits for: per reply, per idle second, and in memory."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from redis import Redis

from benchmarks.figures import Figure, at_most
from benchmarks.lab import ORG, Lab
from memrepo import Job, MemoryRepos
from memrepo_worker.settings import WorkerSettings
from tests.support.waiting import wait_for
from tests.support.workers import fleet

FEW, MANY = 200, 20_000
ROUNDS, REPLIES = 40, 50
IDLE_S = 10.0
COUNTS, COUNTS_LONG = (5_000, 20_000), (10_000, 200_000)  # the long ones take five minutes
SHA = "0" * 40
AGENTS = 500


def clients(lab: Lab) -> Iterator[Figure]:
    """Measure one client with few and many jobs that nobody answers, then what fire-and-forget leaves in memory."""
    few_ms, _ = _with_pending(lab, FEW)
    many_ms, per_s = _with_pending(lab, MANY)
    parts = {f"{FEW} pending, CPU ms": few_ms, f"{MANY} pending, CPU ms": many_ms}
    name = f"CPU per reply, {MANY:,} jobs pending / {FEW}"
    yield Figure(name, many_ms / few_ms, "x", at_most(1.2), parts)
    yield Figure(f"requests to Redis while idle, {MANY:,} jobs pending", per_s, "/s", at_most(5))
    counts = COUNTS_LONG if lab.long else COUNTS
    first, last = _held_kib(lab, counts)
    name = f"memory after {counts[1]:,} fire-and-forget commits / {counts[0]:,}"
    parts = {f"{counts[0]} MB": first / 1024, f"{counts[1]} MB": last / 1024}
    yield Figure(name, last / first, "x", at_most(1.2), parts)


def _with_pending(lab: Lab, count: int) -> tuple[float, float]:
    """Return the CPU of a reply (ms), and the requests per second while idle, with so many jobs pending."""
    url = lab.valkey.database(lab.next_number())
    with MemoryRepos(broker_url=url) as repos, Redis.from_url(url) as broker:
        pending = _ask(repos, count)
        [channel] = broker.pubsub_channels("memrepo.replies.*")
        cpu_ms = _reply_ms(repos, broker, channel)
        time.sleep(2.0)  # what the replies have set off is over
        per_s = _requests_per_s(broker)
        assert not any(job.done() for job in pending)
        for job in pending:
            job.pending.look_at()  # that they never end is meant
    return cpu_ms, per_s


def _ask(repos: MemoryRepos, count: int) -> list[Job[str]]:
    return [
        repos.repo(org_id=ORG, agent_id=f"agent-{number % AGENTS}").get_head_sha() for number in range(count)
    ]


def _reply_ms(repos: MemoryRepos, broker: Redis, channel: bytes) -> float:
    """Answer some jobs at a time; return the CPU milliseconds per reply of the thread that listens."""
    spent_s = 0.0
    for _ in range(ROUNDS):
        jobs = _ask(repos, REPLIES)
        start_s = _listening_s()
        _answer(broker, channel, jobs)
        wait_for(lambda jobs=jobs: all(job.done() for job in jobs), "the replies")  # type: ignore[misc]
        spent_s += _listening_s() - start_s
    return spent_s * 1e3 / (ROUNDS * REPLIES)


def _answer(broker: Redis, channel: bytes, jobs: Sequence[Job[str]]) -> None:
    with broker.pipeline(transaction=False) as pipeline:
        for job in jobs:
            record = json.dumps({"status": "SUCCESS", "result": SHA, "task_id": job.id})
            pipeline.set(f"celery-task-meta-{job.id}", record, ex=600)
            pipeline.publish(channel.decode(), record)
        pipeline.execute()


def _listening_s() -> float:
    """Return the CPU seconds that the client's listening thread has had."""
    [thread] = [one for one in threading.enumerate() if one.name == "memrepo-replies"]
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def _requests_per_s(broker: Redis) -> float:
    before = _commands(broker)
    time.sleep(IDLE_S)
    return (_commands(broker) - before - 1) / IDLE_S


def _commands(broker: Redis) -> int:
    return int(broker.info("stats")["total_commands_processed"])


def _held_kib(lab: Lab, counts: Sequence[int]) -> Sequence[int]:
    """Return what a process holds after each of the counts (KiB), against a worker that does nothing."""
    number = lab.next_number()
    url, folder = lab.valkey.database(number), lab.new_folder(f"clients-{number}")
    settings = WorkerSettings(
        broker_url=url, result_url=url, store_url=folder.as_uri(), cache_dir=Path(folder / "cache")
    )
    answer = folder / "answer.json"
    job = json.dumps({"broker_url": url, "counts": counts, "answer": str(answer)})
    with fleet(folder, settings, "tests.support.noop_service:noop_service") as workers:
        workers.start()
        with lab.process("benchmarks.fire_and_forget", job, folder=folder, ready=lambda: True) as process:
            while not answer.exists():
                ended = process.poll() is not None and not answer.exists()
                assert not ended, "\n".join(log.read_text()[-2000:] for log in folder.glob("*.log"))
                time.sleep(0.5)
    first, last = json.loads(answer.read_text())
    return first, last
