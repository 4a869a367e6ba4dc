"""What a client asks of Redis while it waits depends on time, not on how many jobs or replies there are."""

from __future__ import annotations

import asyncio
import gc
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import redis

from memrepo import AsyncMemoryRepos, MemoryRepoError, MemoryRepos, Settings
from memrepo.dispatch.watched import LOOKUP_MAX, TICK_S, UNHELD_S, Watched
from memrepo.jobs.job import Followed, Job
from memrepo.jobs.pending import Pending
from memrepo.wire.operations import result_of_task
from tests.producer.stand_in import SHA
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for

INTERVAL_S = 1.0


class Now:
    """A clock that the test sets."""

    s = 100.0

    def __call__(self) -> float:
        return self.s


def job(number: int, *, foreign: bool = False) -> Pending[Any]:
    return Pending(f"job-{number}", result_of_task, foreign=foreign)


def looked_up(watched: Watched) -> list[Pending[Any]]:
    return watched.due(poll=watched.is_poll_due())


def calls(broker: Valkey, command: str) -> int:
    with broker.client() as client:
        found = client.info("commandstats").get(f"cmdstat_{command}")
    return int(found["calls"]) if found else 0


def seconds(client: redis.Redis) -> float:
    whole, micro = client.time()
    return float(whole) + float(micro) / 1e6


def test_all_jobs_have_their_turn_so_many_at_each_interval() -> None:
    now = Now()
    watched = Watched(INTERVAL_S, now)
    jobs = [job(number) for number in range(3 * LOOKUP_MAX)]
    for one in jobs:
        watched.add(one)

    turns = []
    for _ in range(3):
        turns.append(looked_up(watched))
        assert looked_up(watched) == []  # at the same moment
        now.s += INTERVAL_S

    assert [len(turn) for turn in turns] == [LOOKUP_MAX] * 3
    assert {one for turn in turns for one in turn} == set(jobs)


def test_a_job_of_another_client_is_looked_up_at_each_tick_and_no_sooner() -> None:
    now = Now()
    watched = Watched(INTERVAL_S, now)
    watched.add(job(0))
    foreign = job(1, foreign=True)
    watched.add(foreign)
    looked_up(watched)

    assert looked_up(watched) == []
    now.s += TICK_S
    assert looked_up(watched) == [foreign]


def test_a_job_of_another_client_is_let_go_of_a_while_after_nobody_holds_it_or_asks_for_it() -> None:
    now = Now()
    watched = Watched(INTERVAL_S, now)
    held, unheld, asked = (job(number, foreign=True) for number in range(3))
    given = job(3, foreign=True)
    future = Job(cast("Followed", None), given).future
    for one in (held, unheld, asked, given):
        watched.add(one)
    del unheld, given, one

    now.s += UNHELD_S - TICK_S
    assert watched.holds(asked)
    del asked
    assert [one.task_id for one in looked_up(watched)] == ["job-0", "job-1", "job-2", "job-3"]
    now.s += TICK_S
    assert [one.task_id for one in looked_up(watched)] == ["job-0", "job-2", "job-3"]
    now.s += UNHELD_S
    assert [one.task_id for one in looked_up(watched)] == ["job-0", "job-3"]
    assert [one.task_id for one in watched.clear()] == ["job-0", "job-3"]
    assert not future.done()


def test_who_asks_for_a_job_of_another_client_now_and_then_need_not_hold_it(broker: Valkey) -> None:
    async def status_seen(task_id: str) -> None:
        async with AsyncMemoryRepos(broker_url=broker.url) as repos:
            assert repos.job(task_id).status() == "unknown"
            gc.collect()
            await asyncio.to_thread(
                wait_for, lambda: repos.job(task_id).status() == "running", "it to be looked up"
            )

    started = json.dumps({"status": "STARTED", "task_id": "somebodys-job"})
    with broker.client() as client:
        client.set("celery-task-meta-somebodys-job", started)
    asyncio.run(status_seen("somebodys-job"))


def test_after_a_reconnect_all_are_looked_up_without_a_pause() -> None:
    watched = Watched(INTERVAL_S, Now())
    jobs = [job(number) for number in range(2 * LOOKUP_MAX)]
    for one in jobs:
        watched.add(one)
    watched.hurry()

    assert watched.wait_s == 0.0
    assert {*looked_up(watched), *looked_up(watched)} == set(jobs)
    assert looked_up(watched) == []
    assert watched.wait_s > 0.0


def test_what_ended_is_let_go_of_when_its_turn_comes() -> None:
    removed: list[Pending[Any]] = []
    watched = Watched(INTERVAL_S, Now(), removed.append)
    ended = job(0)
    watched.add(ended)
    ended.succeed("x")

    assert looked_up(watched) == []
    assert (removed, watched.get("job-0")) == ([ended], None)


def test_redis_is_asked_once_an_interval_however_many_jobs_are_pending(broker: Valkey) -> None:
    interval_s = 0.1
    settings = Settings(broker.url, broker.url, poll_interval_s=interval_s)
    with MemoryRepos(settings=settings) as repos, broker.client() as client:
        agents = [repos.repo(org_id="acme", agent_id=f"agent-{number}") for number in range(40)]
        jobs = [agents[number % 40].get_head_sha() for number in range(LOOKUP_MAX + 100)]
        begun_s, before = seconds(client), calls(broker, "mget")

        wait_for(lambda: calls(broker, "mget") >= before + 12, "twelve looks")

        made = calls(broker, "mget") - before
        assert made <= (seconds(client) - begun_s) / interval_s + 2
        for one in jobs:
            one.pending.look_at()


def test_a_reply_costs_no_look_up_while_a_job_of_another_client_is_waited_for(broker: Valkey) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        MemoryRepos(broker_url=broker.url) as repos,
        broker.client() as client,
    ):
        own = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        foreign = repos.job("0b0f1c6e-7a3c-4c63-8f0a-0d8f1f7f7f7f")
        waiting = pool.submit(foreign.result)
        [channel] = wait_for(  # the server may still have one of a client that was closed before
            lambda: len(found := client.pubsub_channels("memrepo.replies.*")) == 1 and found,
            "its own channel alone",
        )
        reply = json.dumps({"status": "SUCCESS", "result": SHA, "task_id": own.id})
        other = json.dumps({"status": "SUCCESS", "result": SHA, "task_id": "nobody's"})
        wait_for(lambda: calls(broker, "mget") > 1, "the other job to be looked up")
        before = calls(broker, "mget")

        with client.pipeline(transaction=False) as pipeline:
            for _ in range(2000):
                pipeline.publish(channel, other)
            pipeline.publish(channel, reply)
            pipeline.execute()

        assert own.result(timeout_s=20) == SHA
        assert calls(broker, "mget") - before < 500
    assert isinstance(waiting.exception(5), MemoryRepoError)
