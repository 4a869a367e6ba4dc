from __future__ import annotations

import json
import time
from typing import Any

import pytest

from memrepo import FileChange, InvalidRequestError, Limits, MemoryRepo, MemoryRepos
from memrepo.jobs.job import Job
from memrepo.wire.operations import OPERATIONS, build, validate
from tests.support.each import check_each
from tests.support.samples import SAMPLES
from tests.unit.producer.hostile import BRANCHES, HOSTILE, IDS, PATHS, REQUEST_IDS, Hostile


class ClosedDesk:
    """Takes nothing: whatever arrives here was let through."""

    blocks = False
    limits = Limits()

    def now_s(self) -> float:
        return time.time()

    def submit(self, operation: object, request: object, task_id: str) -> Job[Any]:
        raise AssertionError(f"let through: {request!r}")


@pytest.fixture
def repo() -> MemoryRepo:
    return MemoryRepo(ClosedDesk(), org_id="acme", agent_id="agent-1")  # type: ignore[arg-type]


def check(case: Hostile, request: dict[str, Any]) -> None:
    """Do what each side of the queue does with a request."""
    validate(build(OPERATIONS[case.operation].request, **request), Limits())


BY_OPERATION = {
    operation: [case for case in HOSTILE if case.operation == operation]
    for operation in dict.fromkeys(case.operation for case in HOSTILE)
}


def name_of(case: Hostile) -> str:
    return f"{case.name} ({case.field})"


@pytest.mark.parametrize("operation", BY_OPERATION)
def test_hostile_input_is_refused_naming_the_field(operation: str) -> None:
    def is_refused(case: Hostile) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            check(case, case.request)

        assert caught.value.details["field"] == case.field
        assert str(caught.value).startswith(case.field)

    check_each(BY_OPERATION[operation], is_refused, name_of)


@pytest.mark.parametrize("operation", BY_OPERATION)
def test_it_is_refused_as_well_when_it_comes_as_json(operation: str) -> None:
    def is_refused(case: Hostile) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            check(case, json.loads(json.dumps(case.request)))
        assert caught.value.details["field"] == case.field

    check_each(BY_OPERATION[operation], is_refused, name_of)


@pytest.mark.parametrize("operation", SAMPLES)
def test_the_harmless_request_that_each_case_is_made_of_is_taken(operation: str) -> None:
    case = Hostile(operation, {}, "", "")

    check(case, case.request)


def test_every_case_says_where_it_comes_from_and_there_are_enough() -> None:
    assert len({case.name for case in HOSTILE}) >= 150
    assert all(case.source for case in HOSTILE)


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_no_call_takes_a_hostile_path(path: str, repo: MemoryRepo) -> None:
    calls = (
        lambda: repo.commit({path: "x"}, "m"),
        lambda: repo.commit({path: None}, "m"),
        lambda: repo.commit([FileChange(path=path, content="x")], "m"),
        lambda: repo.create_repo({path: "x"}),
        lambda: repo.get_file(path),
        lambda: repo.get_files(paths=[path]),
        lambda: repo.get_history(path),
    )
    for call in calls:
        with pytest.raises(InvalidRequestError, match=r"path|initial_files"):
            call()


@pytest.mark.parametrize("branch", BRANCHES, ids=ascii)
def test_no_call_takes_a_hostile_branch(branch: str, repo: MemoryRepo) -> None:
    for call in (
        lambda: repo.commit({"a": "x"}, "m", branch=branch),
        lambda: repo.get_head_sha(branch),
    ):
        with pytest.raises(InvalidRequestError, match="branch"):
            call()


@pytest.mark.parametrize("request_id", REQUEST_IDS, ids=ascii)
def test_no_call_takes_a_hostile_request_id(request_id: str, repo: MemoryRepo) -> None:
    for call in (
        lambda: repo.commit({"a": "x"}, "m", request_id=request_id),
        lambda: repo.find_request(request_id),
    ):
        with pytest.raises(InvalidRequestError, match="request_id"):
            call()


@pytest.mark.parametrize("name", IDS, ids=ascii)
def test_no_memory_has_a_hostile_name(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="org_id"):
        MemoryRepo(ClosedDesk(), org_id=name, agent_id="a")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="agent_id"):
        MemoryRepo(ClosedDesk(), org_id="a", agent_id=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", IDS, ids=ascii)
def test_no_org_or_beginning_of_an_agent_has_a_hostile_name(name: str) -> None:
    repos = MemoryRepos.over(ClosedDesk())  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="org_id"):
        repos.list_memories(name)
    if name:
        with pytest.raises(InvalidRequestError, match="prefix"):
            repos.list_memories("acme", prefix=name)
