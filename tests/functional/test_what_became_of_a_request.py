"""What is told of a request when its result is long gone."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from memrepo import (
    ContentMovedError,
    FileChange,
    HeadMovedError,
    InvalidRequestError,
    Job,
    MemoryRepo,
    MemoryRepoError,
    MemoryRepos,
    RequestOutcome,
)
from tests.support.jobs import done, present


def trace_of(repo: MemoryRepo, job: Job[object]) -> RequestOutcome | None:
    return done(repo.find_request(present(job.request_id)))


def found(repo: MemoryRepo, job: Job[object]) -> RequestOutcome:
    return present(trace_of(repo, job))


def test_a_commit_is_found_as_history_tells_it(repo: MemoryRepo) -> None:
    job = repo.commit({"plan.md": "1. tea\n"}, "a plan")
    made = done(job)
    done(repo.commit({"plan.md": "2. cake\n"}, "another"))

    outcome = found(repo, job)

    assert (outcome.request_id, outcome.verdict, outcome.sha) == (job.request_id, "committed", made.sha)
    assert outcome.commit == done(repo.get_history(limit=2))[1]
    assert outcome.error is None


def test_a_request_that_nobody_waited_for_is_found_in_call_order(repo: MemoryRepo) -> None:
    before = repo.find_request("my-own-id-1")
    job = repo.commit({"plan.md": "x"}, "a plan", request_id="my-own-id-1")
    after = repo.find_request("my-own-id-1")

    assert done(before) is None
    assert present(done(after)).sha == done(job).sha


def test_a_commit_that_changed_nothing_is_told_as_unchanged_with_the_head_it_met(repo: MemoryRepo) -> None:
    head = done(repo.get_head_sha())
    job = repo.commit({"human.md": "likes tea\n"}, "again")

    outcome = found(repo, job)

    assert (outcome.verdict, outcome.sha, present(outcome.commit).message) == (
        "unchanged",
        head,
        "Initial commit",
    )


def test_changes_of_branches_are_told_as_done(repo: MemoryRepo) -> None:
    head = done(repo.get_head_sha())
    created, deleted = repo.create_branch("side"), repo.delete_branch("side")

    assert [(told.verdict, told.sha) for told in (found(repo, created), found(repo, deleted))] == [
        ("done", head),
        ("done", head),
    ]


def test_a_commit_of_a_branch_that_was_deleted_is_found_with_what_it_was(repo: MemoryRepo) -> None:
    job = repo.commit({"idea.md": "?"}, "an idea", branch="side")
    done(repo.delete_branch("side"))

    assert present(found(repo, job).commit).message == "an idea"


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda repo: repo.commit({"x": "1"}, "one", expected_head="a" * 40), HeadMovedError),
        (
            lambda repo: repo.commit([FileChange(path="human.md", content=b"", expected_sha256="")], "one"),
            ContentMovedError,
        ),
        (lambda repo: repo.commit({"human.md/inside": "x"}, "one"), InvalidRequestError),
    ],
)
def test_a_request_that_failed_is_found_with_the_error_that_its_job_raised(
    repo: MemoryRepo, ask: Callable[[MemoryRepo], Job[object]], kind: type[MemoryRepoError]
) -> None:
    job = ask(repo)
    with pytest.raises(kind) as raised:
        done(job)

    outcome = found(repo, job)

    assert (outcome.verdict, outcome.sha, outcome.commit) == ("failed", None, None)
    assert type(outcome.error) is kind
    assert (outcome.error.message, outcome.error.details) == (raised.value.message, raised.value.details)


def test_after_a_delete_it_is_told_what_there_was_but_not_what_it_said(repo: MemoryRepo) -> None:
    job = repo.commit({"plan.md": "secret"}, "a plan")
    made = done(job)
    deleted = repo.delete_repo()

    outcome, end = found(repo, job), found(repo, deleted)

    assert (outcome.verdict, outcome.sha, outcome.commit) == ("committed", made.sha, None)
    assert (end.verdict, end.sha, end.commit) == ("deleted", made.sha, None)


def test_what_there_was_before_a_delete_is_told_in_the_next_life_too(repo: MemoryRepo) -> None:
    job = repo.commit({"plan.md": "secret"}, "a plan")
    made = done(job)
    done(repo.delete_repo())
    done(repo.create_repo())

    outcome = found(repo, job)

    assert (outcome.verdict, outcome.sha, outcome.commit) == ("committed", made.sha, None)


def test_of_a_request_that_was_never_sent_there_is_no_trace(repo: MemoryRepo) -> None:
    assert done(repo.find_request(str(uuid.uuid4()))) is None


def test_of_a_read_there_is_no_trace(repo: MemoryRepo) -> None:
    assert trace_of(repo, repo.get_files()) is None


def test_where_there_never_was_a_memory_there_is_no_trace(nobody: MemoryRepo) -> None:
    refused = nobody.commit({"x": "1"}, "one")
    with pytest.raises(MemoryRepoError):
        done(refused)

    assert trace_of(nobody, refused) is None


def test_two_agents_that_share_a_request_id_are_told_apart(repos: MemoryRepos, repo: MemoryRepo) -> None:
    other = repos.repo(org_id="acme", agent_id=f"{repo.agent_id}-other")
    third = repos.repo(org_id="acme", agent_id=f"{repo.agent_id}-third")
    made = [
        done(agent.commit({"x": "1"}, agent.agent_id, request_id="shared-id-1", create_repo_if_missing=True))
        for agent in (repo, other)
    ]

    told = [done(agent.find_request("shared-id-1")) for agent in (repo, other, third)]

    shas = [present(outcome).sha for outcome in told[:2]]
    assert shas == [commit.sha for commit in made]
    assert shas[0] != shas[1]
    assert told[2] is None


def test_a_request_id_that_is_none_is_refused_at_once(repo: MemoryRepo) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        repo.find_request("short")

    assert refusal.value.details["field"] == "request_id"
