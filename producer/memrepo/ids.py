"""The one door for new ids: of requests, tasks and clients."""

from __future__ import annotations

import uuid


def new_id() -> str:
    """Return a new id, which nobody can guess."""
    return str(uuid.uuid4())
