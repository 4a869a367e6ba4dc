"""A request that is sent again under its id: an attempt that was given up says nothing of the new one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memrepo import AsyncMemoryRepos, BrokerUnavailableError, CommitResult, HeadMovedError, Job, Settings
from memrepo.ids import new_id
from memrepo.pending import Pending
from memrepo.replies import Replies
from memrepo.routing import route
from tests.producer.stand_in import SHA, StandIn
from tests.support.valkey import Valkey, valkey


def settings(broker: Valkey) -> Settings:
    return Settings(broker.url, broker.url, enqueue_timeout_s=0.3, resend_after_s=0.5, poll_interval_s=0.05)


def ask(repos: AsyncMemoryRepos) -> Job[CommitResult]:
    repo = repos.repo(org_id="acme", agent_id="agent-1")
    return repo.commit({"a": "1"}, "m", request_id="my-own-request")


async def sent_at_the_second_attempt(broker: Valkey, repos: AsyncMemoryRepos) -> Job[CommitResult]:
    """Make one attempt while the broker is frozen, and another that it takes as soon as it goes on."""
    await repos.repo(org_id="acme", agent_id="agent-1").list_branches().enqueued()
    broker.freeze()
    with pytest.raises(BrokerUnavailableError):
        await ask(repos).enqueued()
    job = ask(repos)
    broker.thaw()
    await job.enqueued()
    return job


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost by the broker"])
def test_an_attempt_that_was_sent_after_one_that_was_not_has_its_own_result(
    tmp_path: Path, lost: bool
) -> None:
    async def attempts(broker: Valkey) -> None:
        async with asyncio.timeout(20), AsyncMemoryRepos(settings=settings(broker)) as repos:
            job = await sent_at_the_second_attempt(broker, repos)
            if lost:
                broker.client().delete(route("acme", "agent-1"))
            with StandIn(broker, lambda _: HeadMovedError("moved")), pytest.raises(HeadMovedError):
                await job

    with valkey(tmp_path) as broker:
        asyncio.run(attempts(broker))


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_job_does_not_end_with_an_attempt_of_the_same_id_that_was_not_sent(
    broker: Valkey, worker: StandIn, overlapping: bool
) -> None:
    task_id = new_id()
    first, second = (Pending(task_id, lambda body: body.value) for _ in range(2))
    replies = Replies(settings(broker), new_id())
    replies.watch(first)
    if overlapping:
        replies.watch(second)
    first.give_up(BrokerUnavailableError("not in time"))
    replies.watch(second)

    replies.start()
    worker.store(task_id, "SUCCESS", SHA)

    assert second.future.result(timeout=5) == SHA
    replies.close()
