"""A request that is sent again under its id: an attempt that was given up says nothing of the new one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from memrepo import (
    AsyncMemoryRepos,
    BrokerUnavailableError,
    CommitResult,
    HeadMovedError,
    Job,
    MemoryRepos,
    Settings,
)
from memrepo.dispatch.connection import Message
from memrepo.dispatch.publisher import Publisher
from memrepo.routing import route
from tests.producer.stand_in import StandIn, claim
from tests.producer.test_results_come_back import COMMIT
from tests.support.valkey import Valkey, valkey


def settings(broker: Valkey) -> Settings:
    return Settings(broker.url, broker.url, enqueue_timeout_s=0.3, resend_after_s=0.5, poll_interval_s=0.05)


def ask(repos: AsyncMemoryRepos) -> Job[CommitResult]:
    repo = repos.repo(org_id="acme", agent_id="agent-1")
    return repo.commit({"a": "1"}, "m", request_id="my-own-request")


async def sent_at_the_second_attempt(broker: Valkey, repos: AsyncMemoryRepos) -> Job[CommitResult]:
    """Make one attempt while the broker is frozen, and another that it takes as soon as it goes on.

    A machine that is busy makes more of them be given up: they are as the first.
    """
    while not await was_enqueued(repos.repo(org_id="acme", agent_id="agent-1").list_branches()):
        pass
    broker.freeze()
    assert not await was_enqueued(ask(repos))
    job = ask(repos)
    broker.thaw()
    while not await was_enqueued(job):
        job = ask(repos)
    return job


async def was_enqueued(job: Job[Any]) -> bool:
    try:
        await job.enqueued()
    except BrokerUnavailableError:
        return False
    return True


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost by the broker"])
def test_an_attempt_that_was_sent_after_one_that_was_not_has_its_own_result(
    tmp_path: Path, lost: bool
) -> None:
    async def attempts(broker: Valkey) -> None:
        claim(broker, route("acme", "agent-1"))
        async with asyncio.timeout(20), AsyncMemoryRepos(settings=settings(broker)) as repos:
            job = await sent_at_the_second_attempt(broker, repos)
            if lost:
                broker.client().delete(route("acme", "agent-1"))
            with StandIn(broker, lambda _: HeadMovedError("moved")), pytest.raises(HeadMovedError):
                await job

    with valkey(tmp_path) as broker:
        asyncio.run(attempts(broker))


def test_who_asks_for_the_id_of_a_job_that_was_given_up_is_told_by_its_record(
    broker: Valkey, worker: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Message] = []

    def hold(_: Publisher, message: Message) -> None:
        message.sent.set_running_or_notify_cancel()  # it is on its way, for ever so long
        held.append(message)

    with monkeypatch.context() as slow, MemoryRepos(settings=settings(broker)) as repos:
        slow.setattr(Publisher, "send", hold)
        with pytest.raises(BrokerUnavailableError) as given_up:
            repos.repo(org_id="acme", agent_id="agent-1").commit({"a": "1"}, "one")
        (message,) = held
        # The request has arrived after all, and was executed.
        worker.store(message.task_id, "SUCCESS", COMMIT, message.reply_to)

        assert repos.job(message.task_id).status() == "done"
        assert given_up.traceback  # which holds what the call knew of its job
