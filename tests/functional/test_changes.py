"""What changed in a memory, as its journal tells it: asked for, and followed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice

import pytest

from memrepo import Change, InvalidRequestError, MemoryRepo, MemoryRepos
from memrepo_worker.testing import inline_worker
from tests.support.jobs import done
from tests.support.watches import looks_of_watches

MAIN = "refs/heads/main"


def moves(changes: Iterable[Change]) -> list[tuple[str, str | None, str | None]]:
    return [(change.ref, change.old, change.new) for change in changes]


def test_each_change_says_what_moved_by_which_commits_and_requests(nobody: MemoryRepo) -> None:
    assert list(done(nobody.get_changes())) == []
    first = done(nobody.create_repo({"a": "1"}, request_id="request-one"))
    second = done(nobody.commit({"a": "2"}, "two", request_id="request-two"))
    third = done(nobody.commit({"a": "3"}, "three", branch="draft", request_id="request-three"))
    done(nobody.delete_branch("draft", request_id="request-four"))

    feed = done(nobody.get_changes())

    draft = "refs/heads/draft"
    assert [(one.ref, one.old, one.new, one.commits, one.request_ids) for one in feed] == [
        (MAIN, None, first.sha, [first.sha], ["request-one"]),
        (MAIN, first.sha, second.sha, [second.sha], ["request-two"]),
        (draft, None, third.sha, [third.sha], ["request-three"]),
        (draft, third.sha, None, [], ["request-four"]),
    ]
    assert feed.seq == feed.newest == feed[-1].seq == feed[-1].resume_after
    for change, commit in zip(feed, (first, second), strict=False):  # a commit's time is its second
        assert timedelta(0) <= change.at - commit.timestamp <= timedelta(seconds=1)


def test_a_page_of_changes_goes_on_after_the_last_entry_that_was_looked_at(repo: MemoryRepo) -> None:
    for number in range(4):
        done(repo.commit({"a": str(number)}, "more"))
    done(repo.commit({"a": "3"}, "nothing new"))

    every = done(repo.get_changes())
    paged, after = [], 0
    while True:
        feed = done(repo.get_changes(after=after, limit=2))
        paged += list(feed)
        after = feed.seq
        if after == feed.newest:
            break

    assert paged == list(every)
    assert len(moves(every)) == 5
    assert every[-1].seq < every.newest, "what changed nothing has an entry, and no change"
    assert list(done(repo.get_changes(after=after))) == []
    assert done(repo.get_changes(after=None)).seq == every.newest


def test_a_memory_that_was_deleted_is_one_change_and_the_numbers_go_on(repo: MemoryRepo) -> None:
    last = done(repo.commit({"a": "1"}, "last"))
    before = done(repo.get_changes()).newest
    done(repo.delete_repo(request_id="the-delete"))
    again = done(repo.create_repo({"a": "again"}))

    feed = done(repo.get_changes())

    assert moves(feed) == [("HEAD", last.sha, None), (MAIN, None, again.sha)]
    assert feed[0].request_ids == ["the-delete"]
    assert moves(done(repo.get_changes(after=before))) == moves(feed)
    assert moves(done(repo.get_changes(after=feed[0].resume_after))) == moves(feed[1:])


def test_changes_are_followed_as_they_come_and_gone_on_with_elsewhere(repo: MemoryRepo) -> None:
    first = done(repo.get_head_sha())
    watch = repo.watch(after=0)
    seen = list(islice(watch, 1))
    second = done(repo.commit({"a": "2"}, "two"))
    third = done(repo.commit({"a": "3"}, "three"))
    seen += islice(watch, 2)
    watch.close()

    assert moves(seen) == [(MAIN, None, first), (MAIN, first, second.sha), (MAIN, second.sha, third.sha)]
    assert list(watch) == []
    assert moves(islice(repo.watch(after=seen[1].resume_after), 1)) == moves(seen[2:])


def test_a_watch_is_told_of_each_write_by_who_applies_it(
    repo: MemoryRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = looks_of_watches(monkeypatch)
    watch = repo.watch(after=done(repo.get_changes(after=None)).seq)
    with ThreadPoolExecutor(1) as thread:
        for number in range(3):
            looked.clear()
            waiting = thread.submit(next, watch)
            assert looked.wait(60), "it has found nothing, and waits"
            made = done(repo.commit({"a": str(number)}, "more"))
            assert waiting.result(timeout=60).new == made.sha
    watch.close()


def test_a_watch_that_was_closed_before_it_began_listens_to_nobody() -> None:
    with inline_worker() as worker:
        watch = worker.repos().repo(org_id="acme", agent_id="agent-1").watch()
        watch.close()

        assert list(watch) == []
        assert worker._listeners == []


def test_closing_a_watch_lets_a_task_go_that_no_worker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memrepo.repo.watch._GLANCE_S", 0.01)

    async def close_while_it_waits(repo: MemoryRepo) -> list[Change]:
        watch = repo.watch(after=0)

        async def follow() -> list[Change]:
            return [change async for change in watch]

        following = asyncio.create_task(follow())
        await asyncio.sleep(0)
        assert not following.done()
        watch.close()
        async with asyncio.timeout(5):
            return await following

    with inline_worker() as worker, worker.pause():
        repo = worker.async_repos().repo(org_id="acme", agent_id="agent-1")
        assert asyncio.run(close_while_it_waits(repo)) == []


def test_a_number_beyond_the_newest_is_told_with_what_to_do(repos: MemoryRepos, repo: MemoryRepo) -> None:
    never = repos.repo(org_id="acme", agent_id=f"{repo.agent_id}-never")
    newest = done(repo.get_changes()).newest
    assert list(done(repo.get_changes(after=newest))) == []

    for of, number, there in ((repo, newest + 1, newest), (repo, 10**15, newest), (never, 1, 0)):
        with pytest.raises(
            InvalidRequestError, match=f"after: is {number}, and the newest entry is {there}"
        ) as told:
            done(of.get_changes(after=number))
        assert told.value.details == {"field": "after", "newest": there}
        watch = of.watch(after=number)
        with pytest.raises(InvalidRequestError, match=f"go on after {there}"):
            next(watch)
        watch.close()

    watch = repo.watch(after=newest)
    made = done(repo.commit({"a": "1"}, "the next"))
    assert next(watch).new == made.sha
    watch.close()


def test_a_watch_on_asyncio_is_told_of_a_number_beyond_the_newest() -> None:
    async def follow(repo: MemoryRepo) -> None:
        async with repo.watch(after=7) as watch:
            async for change in watch:
                raise AssertionError(change)

    with inline_worker() as worker, pytest.raises(InvalidRequestError, match="the newest entry is 0"):
        asyncio.run(follow(worker.async_repos().repo(org_id="acme", agent_id="agent-1")))


def test_a_watch_goes_on_through_a_delete(repo: MemoryRepo) -> None:
    watch = repo.watch(after=done(repo.get_changes(after=None)).seq)
    last = done(repo.get_head_sha())
    done(repo.delete_repo())
    again = done(repo.create_repo({"a": "again"}))

    assert moves(islice(watch, 2)) == [("HEAD", last, None), (MAIN, None, again.sha)]


@pytest.mark.parametrize(
    ("field", "value"), [("after", -1), ("after", 10**15 + 1), ("limit", 0), ("limit", 1001)]
)
def test_what_is_no_place_in_a_journal_is_refused_at_once(repo: MemoryRepo, field: str, value: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        repo.get_changes(**{field: value})

    assert caught.value.details["field"] == field
