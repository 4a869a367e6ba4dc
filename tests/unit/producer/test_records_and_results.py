from __future__ import annotations

import json
from typing import Any

import pytest

from memrepo import (
    ContentMovedError,
    JobCancelledError,
    MemoryRepoError,
    RequestOutcome,
)
from memrepo.models import Verdict
from memrepo.wire import record
from memrepo.wire.operations import OPERATIONS, Operation, result_of_task
from memrepo.wire.payload import Payload
from tests.support.samples import COMMIT, MADE, SAMPLES


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_result_gets_its_type_back_without_its_operation_being_known(
    operation: Operation[Any, object],
) -> None:
    result = SAMPLES[operation.name].result
    carried = json.loads(json.dumps(operation.result_to_json(result)))

    by_form, by_name = (result_of_task(Payload(carried), name) for name in (None, operation.task_name))
    for rebuilt in (operation.result_from_json(carried), by_form, by_name):
        assert rebuilt == result
        assert type(rebuilt) is type(result)
        if isinstance(result, list):
            assert isinstance(rebuilt, list)
            assert type(rebuilt[0]) is type(result[0])


def failed(error_type: str) -> RequestOutcome:
    return RequestOutcome(
        request_id="request-1",
        verdict="failed",
        error_type=error_type,
        error_message="What went wrong.",
        error_details={"path": "a"},
    )


def test_a_failed_request_gives_its_error_back() -> None:
    carried = json.loads(json.dumps(failed("ContentMovedError").model_dump(mode="json")))

    outcome = result_of_task(Payload(carried), None)
    assert isinstance(outcome, RequestOutcome)
    error = outcome.error

    assert isinstance(error, ContentMovedError)
    assert (error.message, error.details) == ("What went wrong.", {"path": "a"})


def test_a_failed_requests_error_that_this_version_does_not_know_is_still_an_error() -> None:
    error = failed("OddError").error

    assert type(error) is MemoryRepoError
    assert error.message == "OddError: What went wrong."


@pytest.mark.parametrize("verdict", ["committed", "unchanged", "done", "deleted"])
def test_a_request_that_succeeded_has_no_error(verdict: Verdict) -> None:
    assert RequestOutcome(request_id="request-1", verdict=verdict).error is None


@pytest.mark.parametrize("value", [7, {"a": 1}, [7], {"utf8": "x"}, True])
def test_what_is_no_result_is_not_given_a_type(value: object) -> None:
    with pytest.raises(ValueError, match="no operation has such a result"):
        result_of_task(Payload(value), None)


def test_a_result_of_before_it_grew_gets_its_type_back_without_its_operation_being_known() -> None:
    earlier = {**COMMIT, "branch": "main", "created": True}  # new_branch came later

    assert result_of_task(Payload(earlier), None) == MADE


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_result_that_a_later_version_has_given_more_fields_is_read(
    operation: Operation[Any, object],
) -> None:
    result = SAMPLES[operation.name].result
    carried = grown(json.loads(json.dumps(operation.result_to_json(result))))

    assert operation.result_from_json(carried) == result
    assert result_of_task(Payload(carried), operation.task_name) == result


def grown(value: Any) -> Any:
    """Add a field to every model in a result (files of a snapshot are a mapping by path, and no model)."""
    match value:
        case dict() if "commit_sha" in value:
            return {
                **value,
                "files": {path: grown(file) for path, file in value["files"].items()},
                "added": 1,
            }
        case dict() if not {"utf8", "base64"} & set(value):
            return {**{key: grown(part) for key, part in value.items()}, "added": 1}
        case list():
            return [grown(part) for part in value]
    return value


def test_a_result_of_a_task_that_this_version_does_not_know_is_none() -> None:
    with pytest.raises(ValueError, match="no operation has the task"):
        result_of_task(Payload("x"), "memrepo.added_later")


def test_a_cancelled_record_reads_back() -> None:
    cancelled = record.read(record.cancelled("some-task", now_s=0.0))

    assert cancelled is not None
    assert (cancelled.task_id, cancelled.status, cancelled.final) == ("some-task", "cancelled", True)
    assert isinstance(cancelled.error, JobCancelledError)


@pytest.mark.parametrize(
    "noise", [b"", b"{", b"\xff", b"[]", b"1", b"null", b'"x"', b"{}", b'{"task_id": 1}']
)
def test_what_is_no_record_reads_as_none(noise: bytes) -> None:
    assert record.read(noise) is None


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"exc_type": "Odd", "exc_message": "text"}, "Odd: text"),
        ({"exc_type": "Odd", "exc_message": ["text", "more"]}, "Odd: text"),
        ({"exc_type": "Odd", "exc_message": [7]}, "Odd: the worker told no reason"),
        ({}, "the worker told no reason"),
        (None, "the worker told no reason"),
    ],
)
def test_a_failure_of_any_form_has_a_message(fault: object, told: str) -> None:
    assert str(record.Record("id", "failed", fault).error) == told


@pytest.mark.parametrize("text", ["[" * 1_000, "[" * 100_000, '{"a":' * 100_000])
def test_a_record_that_is_nested_too_deeply_is_no_record(text: str) -> None:
    assert record.read(text) is None
