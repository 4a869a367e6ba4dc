"""What a memory was forked from: a blob that every header of the fork names, so that all copies can be found for ever.

One line of JSON for each memory that it goes back to, the nearest first: of a fork of a fork there are two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from memrepo.errors import InvalidRequestError
from memrepo.json_text import read_json
from memrepo.validation.values import TIME_MAX_S, check_id
from memrepo_worker.group import Agent

ORIGINS_MAX = 1_000
"""How many forks a memory may go back to."""

ORIGINS_BYTES_MAX = 1024 * ORIGINS_MAX
_SHA = re.compile(r"[0-9a-f]{40}\Z")


@dataclass(frozen=True, slots=True)
class OriginLine:
    """A memory was begun with what another had at a commit; ``at`` is in seconds since 1970-01-01 UTC."""

    agent: Agent
    sha: str
    at: float


def encode_origins(lines: Iterable[OriginLine]) -> bytes:
    """Return the blob that says so."""
    return "".join(
        json.dumps(
            {"org_id": line.agent.org_id, "agent_id": line.agent.agent_id, "sha": line.sha, "at": line.at},
            sort_keys=True,
        )
        + "\n"
        for line in lines
    ).encode()


def decode_origins(data: bytes) -> tuple[OriginLine, ...]:
    """Return the lines of such a blob.

    Raises:
        ValueError: it is none.
    """
    return tuple(_decoded(line) for line in data.decode().splitlines())


def _decoded(line: str) -> OriginLine:
    value = read_json(line)
    if not isinstance(value, dict):
        raise ValueError("a line of an origin is no such line")
    org_id, agent_id, sha, at = (value.get(name) for name in ("org_id", "agent_id", "sha", "at"))
    if not (
        isinstance(sha, str) and _SHA.match(sha) and isinstance(at, int | float) and abs(at) < TIME_MAX_S
    ):
        raise ValueError("a line of an origin names no commit, or no time")
    if not (isinstance(org_id, str) and isinstance(agent_id, str)):
        raise ValueError("a line of an origin names no agent")
    try:
        agent = Agent(check_id(org_id, "org_id"), check_id(agent_id, "agent_id"))
    except InvalidRequestError as error:
        raise ValueError(f"a line of an origin names no agent: {error.message}") from error
    return OriginLine(agent, sha, float(at))
