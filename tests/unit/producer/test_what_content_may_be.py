from __future__ import annotations

import pytest

from memrepo import FileChange, InvalidRequestError
from memrepo.wire.operations import COMMIT, build


def content_of(content: object) -> bytes | None:
    changes = [{"path": "a", "content": content}]
    request = build(
        COMMIT.request,
        org_id="acme",
        agent_id="ann",
        request_id="chosen-id-1",
        enqueued_at=0.0,
        changes=changes,
        message="m",
    )
    (change,) = request.changes
    assert isinstance(change, FileChange)
    return change.content


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("likes tea\n", b"likes tea\n"),
        (b"\xff\x00", b"\xff\x00"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (None, None),
    ],
)
def test_text_and_bytes_are_taken_and_none_deletes(given: object, taken: bytes | None) -> None:
    assert content_of(given) == taken


@pytest.mark.parametrize("given", [5, 1.5, ["a"], {"a": "b"}, object(), True])
def test_content_of_another_kind_is_refused_by_what_is_taken(given: object) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        content_of(given)

    assert refusal.value.message == (
        f"changes[0].content: must be str, bytes or None (which deletes), not {type(given).__name__}"
    )
    assert refusal.value.details["field"] == "changes[0].content"
