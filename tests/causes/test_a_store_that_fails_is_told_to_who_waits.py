"""What the object store does to a worker is told to whoever waits for the result, in the store's own words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memrepo import AsyncMemoryRepos, JobTimeoutError, MemoryRepos
from tests.support.commands import memrepo
from tests.support.systems import System

WORDS = "not a directory (ENOTDIR)"
WAIT_S = 1.5
WAITS_MAX = 20
"""So often is waited for the same job: on a busy machine the worker may not have come to it the first time."""
AGENT = "agent-1"


@pytest.fixture
def org(system: System, request: pytest.FixtureRequest) -> Iterator[str]:
    """An org in whose place in the store a file stands; that is mended in the end."""
    assert system.store_folder is not None
    name = f"broken-{request.node.callspec.id}"
    in_the_way = system.store_folder / name
    in_the_way.touch()
    yield name
    in_the_way.unlink()
    with MemoryRepos(broker_url=system.broker_url) as repos:
        repos.repo(org_id=name, agent_id=AGENT).get_head_sha().result(
            timeout_s=30
        )  # behind the one that waited


def by_sync(system: System, org: str, folder: Path) -> str:
    with MemoryRepos(broker_url=system.broker_url) as repos:
        job = repos.repo(org_id=org, agent_id=AGENT).commit({"a": "x"}, "m", create_repo_if_missing=True)
        for _ in range(WAITS_MAX):
            with pytest.raises(JobTimeoutError) as caught:
                job.result(timeout_s=WAIT_S)
            if WORDS in str(caught.value):
                break
    return str(caught.value)


def by_asyncio(system: System, org: str, folder: Path) -> str:
    async def commit() -> str:
        async with AsyncMemoryRepos(broker_url=system.broker_url) as repos:
            job = repos.repo(org_id=org, agent_id=AGENT).commit({"a": "x"}, "m", create_repo_if_missing=True)
            for _ in range(WAITS_MAX):
                with pytest.raises(JobTimeoutError) as caught:
                    await job.wait(timeout_s=WAIT_S)
                if WORDS in str(caught.value):
                    break
        return str(caught.value)

    return asyncio.run(commit())


def by_command_line(system: System, org: str, folder: Path) -> str:
    limit = ("--timeout", str(WAIT_S))
    arguments = ["commit", org, AGENT, "--create", "-m", "m", "--text", "a", "x", *limit]
    for _ in range(WAITS_MAX):
        ended = memrepo(*arguments, folder=folder, env={"MEMREPO_BROKER_URL": system.broker_url})
        assert ended.code == 5
        assert ended.stderr.count("\n") == 1
        if WORDS in ended.stderr:
            break
        _, job_id = ended.stderr.split()[1:3]
        arguments = ["job", job_id, "--wait", *limit]
    return ended.stderr


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(by_sync, id="sync"),
        pytest.param(by_asyncio, id="asyncio"),
        pytest.param(by_command_line, id="cli"),
    ],
)
def test_it_is_told_in_its_own_words(
    system: System, org: str, tmp_path: Path, way: Callable[[System, str, Path], str]
) -> None:
    said = way(system, org, tmp_path)

    assert WORDS in said
    assert f"within {WAIT_S:g} s: retrying" in said
