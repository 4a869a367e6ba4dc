"""The record of a task in the result store: Celery's own JSON, read and written here.

A worker stores it at ``celery-task-meta-<task id>`` and publishes the same JSON to the channel of that name and
to the client's reply channel. On failure ``result`` is ``{"exc_type", "exc_message": [message, details],
"exc_module"}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeGuard

from pydantic import ValidationError

from memrepo.errors import JobCancelledError, MemoryRepoError, from_wire
from memrepo.json_text import read_json
from memrepo.validation.values import read_time_s
from memrepo.wire.payload import PayloadClaim, ResultClaim

Status = Literal["queued", "running", "retrying", "done", "failed", "cancelled", "unknown"]


_STATUS: Mapping[str, Status] = {
    "PENDING": "queued",
    "RECEIVED": "queued",
    "STARTED": "running",
    "RETRY": "retrying",
    "SUCCESS": "done",
    "FAILURE": "failed",
    "REVOKED": "cancelled",
}
UNDER_WAY: frozenset[Status] = frozenset({"queued", "running", "retrying"})
"""What a message that the broker still holds may be in."""

ENDED: frozenset[Status] = frozenset({"done", "failed", "cancelled"})
"""What is never left again."""

_CANCELLED = "The job was cancelled before a worker started it; nothing was changed."


@dataclass(frozen=True, slots=True)
class Record:
    """One record: which task, how far it is, and what came of it (a JSON value).

    ``task_name`` says which operation it is of; the record of a job that was cancelled before a worker saw it says
    nothing of that.
    """

    task_id: str
    status: Status
    result: Any
    task_name: str | None = None

    @property
    def final(self) -> bool:
        """Whether this state is the last one."""
        return self.status in ENDED

    @property
    def claim(self) -> ResultClaim | None:
        """How to get the result, where it is a body of its own."""
        match self.result:
            case {"body": claim} if len(self.result) == 1 and self.status == "done":
                try:
                    return ResultClaim.model_validate(claim)
                except ValidationError:
                    return None
        return None

    @property
    def reason(self) -> str:
        """Why it is no further, where the record says: of use with ``retrying`` alone."""
        return _message_and_details(self.result)[0] if _is_fault(self.result) else ""

    @property
    def since_s(self) -> float | None:
        """Since when the reason holds (since 1970-01-01 UTC), where the record says."""
        if not _is_fault(self.result):
            return None
        return read_time_s(_message_and_details(self.result)[1].get("since"))

    @property
    def error(self) -> MemoryRepoError:
        """The error that the record stands for; of use with ``failed`` and ``cancelled`` alone."""
        if self.status == "cancelled":
            return JobCancelledError(_CANCELLED, {"job_id": self.task_id})
        fault = self.result if isinstance(self.result, dict) else {}
        return from_wire(str(fault.get("exc_type", "MemoryRepoError")), *_message_and_details(fault))


def _is_fault(result: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(result, dict) and "exc_message" in result


def _message_and_details(fault: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Take a failure apart; Celery's own failures (an unknown task, say) have another form than ours."""
    match fault.get("exc_message"):
        case [str(message), dict(details)]:
            return message, details
        case [str(message), *_] | str(message):
            return message, {}
    return "the worker told no reason", {}


def claiming(claim: PayloadClaim, kept_at: str = "") -> dict[str, Any]:
    """Return what a record has in place of a result that is a body of its own, at that result store."""
    return {"body": {**claim.model_dump(), **({"kept_at": kept_at} if kept_at else {})}}


def read(data: bytes | str) -> Record | None:
    """Read a record; None if it is none."""
    try:
        record = read_json(data)
        task_id, status, name = (
            record["task_id"],
            _STATUS.get(record["status"], "unknown"),
            record.get("name"),
        )
        if not isinstance(task_id, str):
            return None
        return Record(task_id, status, record.get("result"), name if isinstance(name, str) else None)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def cancelled(task_id: str, now_s: float) -> str:
    """Write the record of a task that was cancelled; ``now_s`` is in seconds since 1970-01-01 UTC."""
    fault = {
        "exc_type": JobCancelledError.__name__,
        "exc_message": [_CANCELLED, {"job_id": task_id}],
        "exc_module": JobCancelledError.__module__,
    }
    record: dict[str, Any] = {
        "status": "REVOKED",
        "result": fault,
        "traceback": None,
        "children": [],
        "date_done": datetime.fromtimestamp(now_s, UTC).isoformat(),
        "task_id": task_id,
    }
    return json.dumps(record)
