"""What several scripts of the queues begin with."""

from __future__ import annotations

from memrepo.redis.script import lua

OWNED = lua(__package__, "owned")
"""The fence: whether a token is the present owner's. Put before the scripts that need it."""
