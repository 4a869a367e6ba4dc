"""A service that keeps what it did in Redis, in plain sight, and misbehaves when told to.

Like the real one it executes a request id once per agent. What the test may set, in the same database:
``hold:<agent>`` (wait while it is there), ``down`` (the store is unavailable while it is there), and a commit
whose message begins with ``poison`` (a fault that no retry mends).
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import redis

from memrepo.errors import HeadMovedError
from memrepo.models import CommitResult
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.group import Group, Outcome, Success
from memrepo_worker.store.interface import UnavailableError

_MESSAGE = "SECRET-CONTENT in a message of an exception"


class FakeService:
    """Appends each commit's request id to ``effects:<agent>``, once."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, decode_responses=True)

    def __call__(self, group: Group) -> Sequence[Outcome]:
        """Settle a group."""
        group.confirm()
        ids = [request.request_id for request in group.requests]
        entry = {
            "agent": str(group.agent),
            "ids": ids,
            "token": group.lease.token,
            "pid": os.getpid(),
            "frozen": gc.get_freeze_count(),
        }
        self._redis.rpush("begun", json.dumps(entry))
        while self._redis.exists(f"hold:{group.agent}"):
            time.sleep(0.005)
        if self._redis.exists("down"):
            raise UnavailableError("the test says so")
        if any(getattr(request, "message", "").startswith("poison") for request in group.requests):
            raise ValueError(_MESSAGE)
        outcomes = [self._settle(f"effects:{group.agent}", request) for request in group.requests]
        self._redis.rpush("done", json.dumps(entry))
        return outcomes

    def _settle(self, effects: str, request: Request) -> Outcome:
        if not isinstance(request, CommitRequest):
            return Success(hashlib.sha1(str(self._redis.llen(effects)).encode()).hexdigest())
        if request.message == "moved":
            return HeadMovedError("SECRET-CONTENT moved", {"head": "0" * 40})
        if self._redis.hsetnx(f"ledger:{effects}", request.request_id, 1):
            self._redis.rpush(effects, request.request_id)
        return Success(commit_result(request))


def commit_result(request: CommitRequest) -> CommitResult:
    """Make up a result that names the request."""
    return CommitResult(
        sha=hashlib.sha1(request.request_id.encode()).hexdigest(),
        parent_sha=None,
        message=request.message,
        author_type="agent",
        author_id=None,
        author_name=request.author.name,
        author_email=request.author.email,
        timestamp=datetime.fromtimestamp(request.enqueued_at, UTC),
        files_changed=[change.path for change in request.changes],
        additions=1,
        deletions=0,
        request_id=request.request_id,
        branch=request.branch,
        created=True,
    )


def fake_service(argument: Any) -> FakeService:
    """Build it; ``argument`` is the address of the database that it works in."""
    return FakeService(argument)
