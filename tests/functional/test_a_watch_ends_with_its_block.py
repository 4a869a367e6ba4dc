"""A watch is closed when its block is left, with threads and with asyncio: nobody listens for it any more."""

from __future__ import annotations

import asyncio

import pytest

from memrepo import (
    ChangeFeed,
    Job,
    JobCancelledError,
    MemoryRepoError,
    StoreUnavailableError,
    Watch,
    WorkerFaultError,
)
from memrepo_worker.testing import async_inline_repos, inline_repos
from tests.support.jobs import done


def test_a_block_of_with_closes_it() -> None:
    with inline_repos() as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        made = done(repo.create_repo())
        done(repo.commit({"a.md": "found, and not handed out"}, "one more"))

        with repo.watch(after=0) as changes:
            assert next(changes).new == made.sha

        assert isinstance(changes, Watch)
        assert list(changes) == []


@pytest.mark.parametrize("trouble", [JobCancelledError, StoreUnavailableError, WorkerFaultError])
def test_a_watch_asks_again_where_its_question_had_no_answer(
    monkeypatch: pytest.MonkeyPatch, trouble: type[MemoryRepoError]
) -> None:
    monkeypatch.setattr("memrepo.repo.watch._TRY_AGAIN_S", 0.01)
    with inline_repos() as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        made = done(repo.create_repo())
        with repo.watch(after=0) as changes:
            asked, ask = [], changes._ask

            def troubled_at_first(*, after: int | None) -> Job[ChangeFeed]:
                asked.append(after)
                if len(asked) == 1:
                    raise trouble("not now")
                return ask(after=after)

            monkeypatch.setattr(changes, "_ask", troubled_at_first)

            assert next(changes).new == made.sha
            assert asked == [0, 0]


def test_a_block_of_async_with_closes_it() -> None:
    async def follow() -> list[str | None]:
        async with async_inline_repos() as repos:
            repo = repos.repo(org_id="acme", agent_id="agent-1")
            await repo.create_repo()
            await repo.commit({"a.md": "found, and not handed out"}, "one more")
            async with repo.watch(after=0) as changes:
                first = await anext(changes)
            return [first.new, *[change.new async for change in changes]]

    assert len(asyncio.run(follow())) == 1
