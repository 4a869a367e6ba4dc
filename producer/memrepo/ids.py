"""The one door for new ids: of requests, and of clients."""

from __future__ import annotations

import uuid

from memrepo.requests import Request


def new_id() -> str:
    """Return a new id for a request or a client."""
    return str(uuid.uuid4())


def task_id_of(request: Request) -> str:
    """Return the task id for a request whose own id the caller chose.

    Results are looked up by task id alone, and two agents, or two bodies, may share a request id.
    """
    parts = (request.org_id, request.agent_id, request.request_id, request.digest)
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "memrepo:" + "/".join(parts)))
