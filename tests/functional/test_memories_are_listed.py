"""Which memories an org has."""

from __future__ import annotations

from itertools import count
from uuid import uuid4

import pytest

from memrepo import InvalidRequestError, MemoryInfo, MemoryPage, MemoryRepos
from tests.support.jobs import done

_ORGS = count(1)


@pytest.fixture
def org() -> str:
    """An org without memories."""
    return f"org-{next(_ORGS)}"


def begin(repos: MemoryRepos, org: str, *agents: str) -> None:
    for job in [repos.repo(org_id=org, agent_id=agent).create_repo({"a.md": "x"}) for agent in agents]:
        done(job)


def delete(repos: MemoryRepos, org: str, *agents: str) -> None:
    for job in [repos.repo(org_id=org, agent_id=agent).delete_repo() for agent in agents]:
        done(job)


def ids(page: MemoryPage) -> list[str]:
    return [memory.agent_id for memory in page]


def test_an_org_has_the_memories_that_were_begun_and_not_deleted_since(repos: MemoryRepos, org: str) -> None:
    assert list(done(repos.list_memories(org))) == []
    begin(repos, org, "ann", "bob", "Bob", "carl", "x" * 128)
    begin(repos, f"{org}-other", "dora")
    delete(repos, org, "bob", "carl")
    begin(repos, org, "carl")

    page = done(repos.list_memories(org))

    assert sorted(ids(page)) == ["Bob", "ann", "carl", "x" * 128]
    assert page.next_after is None
    assert page[0] == MemoryInfo(org_id=org, agent_id=ids(page)[0])


def test_pages_tell_each_memory_once(repos: MemoryRepos, org: str) -> None:
    agents = ["a", "a-1", "a-1.b", "a-10", "a+1", "a_1", "aB", "b", "b@c=d"]
    begin(repos, org, *agents)
    for limit in (1, 4, 9):
        told, after = [], None
        while True:
            page = done(repos.list_memories(org, limit=limit, after=after))
            assert len(page) <= limit
            told += ids(page)
            after = page.next_after
            if after is None:
                break
        assert sorted(told) == sorted(agents)


def test_a_page_of_deleted_memories_alone_says_where_to_go_on(repos: MemoryRepos, org: str) -> None:
    begin(repos, org, "a", "b", "c")
    delete(repos, org, "a", "b")

    first = done(repos.list_memories(org, limit=2))
    assert (ids(first), first.next_after) == ([], "b")
    assert ids(done(repos.list_memories(org, limit=2, after="b"))) == ["c"]


def test_a_prefix_picks_those_that_begin_with_it(repos: MemoryRepos, org: str) -> None:
    begin(repos, org, "note-1", "note-2", "notes", "plan")

    assert sorted(ids(done(repos.list_memories(org, prefix="note-")))) == ["note-1", "note-2"]
    assert sorted(ids(done(repos.list_memories(org, prefix="note")))) == ["note-1", "note-2", "notes"]
    assert ids(done(repos.list_memories(org, prefix="x"))) == []


def test_a_request_that_begins_nothing_makes_no_memory(repos: MemoryRepos, org: str) -> None:
    job = repos.repo(org_id=org, agent_id="ghost").commit({"a": "1"}, "m", request_id=str(uuid4()))

    with pytest.raises(FileNotFoundError):
        done(job)
    assert ids(done(repos.list_memories(org))) == []


@pytest.mark.parametrize("org_id", ["", "../acme", "acme/agent", "*"])
def test_no_org_of_a_hostile_name_is_asked_for(repos: MemoryRepos, org_id: str) -> None:
    with pytest.raises(InvalidRequestError, match="org_id"):
        repos.list_memories(org_id)
