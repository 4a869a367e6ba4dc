"""A digest is kept in journals: it must be the same in every later version, whatever classes and fields it has."""

from __future__ import annotations

from typing import Any

import pytest

from memrepo import FileChange, InvalidRequestError
from memrepo.wire.operations import OPERATIONS, build, request_to_json, request_to_payload
from memrepo.wire.requests.base import HEAD_FIELDS, Request
from memrepo.wire.requests.writes import CommitRequest
from tests.support.samples import HEAD, SAMPLES

CHANGES = SAMPLES["commit"].body["changes"]


def request_of(operation: str) -> Request:
    request: Request = build(OPERATIONS[operation].request, **{**HEAD, **SAMPLES[operation].body})
    return request


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_digest_of_a_request_never_changes(operation: str) -> None:
    assert request_of(operation).digest == SAMPLES[operation].digest


def test_no_two_operations_share_a_digest() -> None:
    assert len({request_of(operation).digest for operation in OPERATIONS}) == len(OPERATIONS)


def test_the_digest_covers_neither_id_nor_time_and_everything_else() -> None:
    first = request_of("commit")

    assert first.model_copy(update={"request_id": "other", "enqueued_at": 2.0}).digest == first.digest
    assert first.model_copy(update={"message": "other"}).digest != first.digest
    assert first.model_copy(update={"agent_id": "bob"}).digest != first.digest


class GrownChange(FileChange):
    """A change as a later version may have it."""

    added: int = 0


class GrownCommit(CommitRequest):
    """A commit request as a later version may have it."""

    changes: tuple[GrownChange, ...]
    added: str = "default"


def grown(**values: object) -> Request:
    return build(GrownCommit, **HEAD, changes=CHANGES, message="m", **values)


def test_a_field_that_a_later_version_adds_leaves_the_digest_as_it_was() -> None:
    assert grown().digest == build(CommitRequest, **HEAD, changes=CHANGES, message="m").digest
    assert grown(added="set").digest != grown().digest


def test_a_later_producers_request_is_served_where_it_needs_nothing_new() -> None:
    request = grown()
    body = request_to_payload(request)
    head = request.model_dump(mode="json", include=set(HEAD_FIELDS))

    for arrived in (
        build(CommitRequest, **request_to_json(request)),
        build(CommitRequest, body.contents, **body.value, **head),
    ):
        assert arrived.digest == request.digest
        assert arrived == build(CommitRequest, **HEAD, changes=CHANGES, message="m")


@pytest.mark.parametrize(
    ("later", "field"),
    [
        ({"added": "set"}, "added"),
        ({"changes": [{"path": "a", "content": "x", "added": 1}]}, "changes[0].added"),
    ],
)
def test_a_later_producers_request_that_needs_something_new_says_who_must_be_upgraded(
    later: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequestError, match="upgrade the workers first") as caught:
        build(CommitRequest, **HEAD, **{"changes": CHANGES, "message": "m", **later})

    assert caught.value.details["field"] == field
