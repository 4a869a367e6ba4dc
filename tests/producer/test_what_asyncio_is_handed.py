"""What of asyncio takes a job as it is, and what says which other thing to hand it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from memrepo import Job
from tests.producer.stand_in import SHA, StandIn
from tests.producer.test_asyncio import a_client, on_a_loop
from tests.support.valkey import Valkey

AWAITING: dict[str, Callable[[Job[str]], Awaitable[object]]] = {
    "gather": asyncio.gather,
    "ensure_future": asyncio.ensure_future,
    "wait_for": lambda job: asyncio.wait_for(job, 5),
    "shield": asyncio.shield,
    "as_completed": lambda job: next(iter(asyncio.as_completed([job]))),
}
"""What of asyncio takes whatever can be awaited."""


@pytest.mark.parametrize("name", AWAITING)
@on_a_loop
async def test_a_job_is_handed_to_what_takes_an_awaitable(broker: Valkey, worker: StandIn, name: str) -> None:
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()

        assert await AWAITING[name](job) in (SHA, [SHA])


async def in_a_group(job: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(job)


async def created(job: Any) -> None:
    await asyncio.create_task(job)


async def run_in_a_thread(job: Any) -> None:
    await asyncio.to_thread(asyncio.run, job)


COROUTINES_ALONE = [in_a_group, created]
if sys.version_info < (3, 14):  # from then on it takes what can be awaited
    COROUTINES_ALONE.append(run_in_a_thread)


@pytest.mark.parametrize("use", COROUTINES_ALONE, ids=lambda use: use.__name__)
@on_a_loop
async def test_where_asyncio_wants_a_coroutine_its_error_says_what_to_use(
    broker: Valkey, worker: StandIn, use: Callable[[Any], Awaitable[None]]
) -> None:
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()

        with pytest.raises((TypeError, ValueError, ExceptionGroup)) as caught:
            await use(job)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(job.wait())

    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert "job.wait() is a coroutine" in str(error)
    assert "\n" not in str(error)
    assert task.result() == SHA


@on_a_loop
async def test_where_asyncio_wants_futures_the_error_says_what_to_use(
    broker: Valkey, worker: StandIn
) -> None:
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()

        with pytest.raises(TypeError, match=r"use `await repos\.wait\(\[job\]\)`"):
            await asyncio.wait([job])  # type: ignore[type-var]
        await repos.wait([job])
        assert job.done()
