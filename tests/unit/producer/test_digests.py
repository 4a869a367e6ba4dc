"""A digest is kept in journals: it must be the same in every later version, whatever classes and fields it has."""

from __future__ import annotations

from typing import Any

import pytest

from memrepo import Author, FileChange, InvalidRequestError
from memrepo.wire.operations import OPERATIONS, build, request_to_json, request_to_payload
from memrepo.wire.requests.base import HEAD_FIELDS, Request
from memrepo.wire.requests.writes import CommitRequest

HEAD = {"org_id": "acme", "agent_id": "ann", "request_id": "request-1", "enqueued_at": 1.0}
CHANGES = [
    {"path": "/a.md", "content": "x"},
    {"path": "b.md", "content": None},
    {"path": "c.bin", "content": b"\xff", "executable": True, "expected_sha256": ""},
]
AUTHOR = Author(name="Ann", email="ann@example.org", type="user", id="7")

GOLDEN: dict[str, tuple[dict[str, Any], str]] = {
    "create_repo": ({"initial_files": CHANGES[:1], "author": AUTHOR}, "d3e4af8781e2e98b3bd0eac1b2aecffa"),
    "commit": (
        {"changes": CHANGES, "message": "m", "branch": "draft", "author": AUTHOR},
        "5f9b7a662382a66ba89a720aa6a270a4",
    ),
    "get_files": ({"ref": "draft", "paths": ["a.md"]}, "a9e5d2b2288b337151236609c5e9aa3b"),
    "get_file": ({"path": "a.md"}, "9e8b52beb1f12d9c12d2482b5739cf55"),
    "list_files": ({"prefix": "a", "limit": 7, "after": "a.md"}, "047b77fd8c8e0897b9c9211d3ea95bb2"),
    "get_history": ({"path": "a.md", "limit": 7}, "ffe360e99be365f0e976de42a5afb27a"),
    "get_head_sha": ({"branch": "draft"}, "237fb6afa62cdd4e196890a8d9efa3bb"),
    "diff": ({"base": "draft", "target": "main"}, "da0f3729c50fecd3ca2392b1da268d1e"),
    "restore": ({"ref": "draft", "paths": ["a.md"]}, "2f9a66958c004079869fa5b705318954"),
    "list_branches": ({}, "755f9cbe51cd20c75dc4e7986bf08a9e"),
    "find_request": ({"wanted": "request-0"}, "b4bde90c7ae91eb3e164eed4f6c101f4"),
    "create_branch": ({"name": "draft"}, "2930191c1d2b7b9d9e0c28f867556b54"),
    "delete_branch": ({"name": "draft"}, "9f284cc1b5ebd6c49c6d16ac607f7e14"),
    "delete_repo": ({}, "bddf420ed2d8c88366aaa5037914c677"),
}
"""A request of each operation, and its digest as it stands in journals."""


def request_of(operation: str) -> Request:
    request: Request = build(OPERATIONS[operation].request, **HEAD, **GOLDEN[operation][0])
    return request


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_digest_of_a_request_never_changes(operation: str) -> None:
    assert request_of(operation).digest == GOLDEN[operation][1]


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
