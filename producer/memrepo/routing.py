"""Which cell and which queue serve an agent: pure functions that producers and workers must agree on.

Where there are several cells, each has all shards of its own. The number of shards is recorded in Redis by the first
worker; changing the hash or the number moves agents between queues and may only be done with all queues empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

QUEUE_PREFIX = "memrepo."
SHARDS_DEFAULT = 64


def shard_of(org_id: str, agent_id: str, shards: int = SHARDS_DEFAULT) -> int:
    """Return the shard (0 to ``shards`` - 1) that serializes this agent's requests."""
    digest = hashlib.blake2b(f"{org_id}\0{agent_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % shards


def queue_name(shard: int) -> str:
    """Return the name of a shard's queue, such as ``memrepo.000``."""
    return f"{QUEUE_PREFIX}{shard:03d}"


def queue_names(shards: int = SHARDS_DEFAULT) -> list[str]:
    """Return the names of all shard queues, in order."""
    return [queue_name(shard) for shard in range(shards)]


def route(org_id: str, agent_id: str, shards: int = SHARDS_DEFAULT) -> str:
    """Return the name of the one queue that carries this agent's requests."""
    return queue_name(shard_of(org_id, agent_id, shards))


def cell_of(org_id: str, agent_id: str, cells: Iterable[str]) -> str:
    """Return the cell, of those named, that serves an agent: the one whose hash with it is the highest.

    A cell that is added takes its share from each of the others, and one that is removed leaves its agents to all the
    others: nobody else moves (rendezvous hashing).

    Raises:
        ValueError: there are no cells.
    """
    agent = f"\0{org_id}\0{agent_id}".encode()
    return max(cells, key=lambda cell: (_weight(cell.encode() + agent), cell))


def _weight(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=8).digest()


def id_in_cell(made: str, cell: str) -> str:
    """Return a new id that says in which cell its task is; ``made`` has no ``_``, nor has the name of a cell."""
    return f"{made}_{cell}"


def cell_in_id(task_id: str) -> str:
    """Return the cell that a task's id names, empty where it names none."""
    return task_id.rpartition("_")[2] if "_" in task_id else ""
