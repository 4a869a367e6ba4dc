"""A real Flower beside a real worker, asked over HTTP."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from memrepo import MemoryRepo, MemoryRepos
from tests.support.flower import Ask, running_flower
from tests.support.suspended import suspended
from tests.support.systems import System
from tests.support.waiting import wait_for

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def flower(system: System, memories: MemoryRepos, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    def ready(ask: Ask) -> bool:
        memories.repo(org_id="probe", agent_id="probe").list_files()
        return "probe" in ask("/api/tasks")

    with running_flower(tmp_path_factory.mktemp("flower"), system.broker_url, ready) as ask:
        yield ask


@pytest.fixture
def memory(memories: MemoryRepos) -> MemoryRepo:
    repo = memories.repo(org_id="acme", agent_id=f"watched-{next(_NUMBERS)}")
    repo.create_repo().result(timeout_s=20)
    return repo


def shown(flower: Ask, agent_id: str) -> dict[str, dict[str, Any]]:
    """Every task of an agent, by its id."""
    tasks = json.loads(flower("/api/tasks?limit=10000"))
    return {key: task for key, task in tasks.items() if f"acme/{agent_id} " in (task["kwargs"] or "")}


def runtime_s(flower: Ask) -> float:
    """What all runtimes add up to."""
    found = re.findall(
        r'^flower_task_runtime_seconds_sum\{.*"memrepo\.commit".*\} (\S+)$', flower("/metrics"), re.M
    )
    return sum(map(float, found))


def test_every_cancelled_commit_is_shown_as_revoked_and_the_others_take_the_time_that_was_spent(
    system: System, memory: MemoryRepo, flower: Ask
) -> None:
    before_s, began_s = runtime_s(flower), time.monotonic()
    with suspended(system.worker_pid):  # so that none has begun when some are cancelled
        jobs = [memory.commit({"n.md": f"{number}\n"}, "m") for number in range(200)]
        for job in jobs[::5]:
            job.cancel()

    def ended() -> dict[str, dict[str, Any]] | None:
        tasks = shown(flower, memory.agent_id)
        states = [tasks.get(job.id, {}).get("state") for job in jobs]
        return tasks if set(states) <= {"SUCCESS", "REVOKED"} else None

    tasks = wait_for(ended, "all to be shown as ended")
    wall_s = time.monotonic() - began_s
    assert {job.id for job in jobs if tasks[job.id]["state"] == "REVOKED"} == {job.id for job in jobs[::5]}
    assert {job.status() for job in jobs[::5]} == {"cancelled"}
    assert {task["name"] for task in tasks.values()} == {"memrepo.commit", "memrepo.create_repo"}
    assert all(task["worker"] and task["args"] == "()" for task in tasks.values())
    assert 0 < runtime_s(flower) - before_s < wall_s  # one agent has one turn at a time


def test_flowers_buttons_are_a_cancel(memories: MemoryRepos, memory: MemoryRepo, flower: Ask) -> None:
    done = memory.commit({"a.md": "1\n"}, "m")
    done.result(timeout_s=20)
    unknown = memories.job("never-sent-before")

    for job in (done, unknown):
        flower(f"/api/task/revoke/{job.id}?terminate=true&signal=SIGKILL", data=b"")

    wait_for(lambda: unknown.status() == "cancelled", "the unknown id to be cancelled")
    assert memories.job(done.id).status() == "done"
    assert memory.commit({"a.md": "2\n"}, "m").result(timeout_s=20).created
