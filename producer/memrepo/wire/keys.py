"""The keys that memrepo has in Redis: the one table. No key is built anywhere else.

On the broker, beside the shard queues themselves (``memrepo.000`` …, lists; ``memrepo.routing`` names them):

=============================  ======  =======================================================================
``memrepo:shards``             string  how many shards there are; written by the first worker
``memrepo:portable_names``     string  which names are taken for one and the same; written by the first worker
``memrepo:cells``              string  ``NAME LIST`` of a cell and all of them (``memrepo.wire.agreement``)
``memrepo:store``              string  ``id address`` of the one store; the address is the last worker's
``memrepo:owners``             hash    shard → ``token worker``; only a take-over or a release changes it
``memrepo:leases``             zset    shard → until when its owner may go on without a heartbeat (ms)
``memrepo:workers``            zset    worker → until when it counts as alive (ms)
``memrepo:withdrawn``          zset    ``worker reason`` → until when it counts (ms): it lives, and cannot deliver
``memrepo:sequence``           string  the last number given to a delivered message
``memrepo:flushed``            string  what producers write last that wait for the broker's disk
``memrepo:unacked:NNN``        hash    number → message: delivered by shard NNN's owner, not acknowledged
``memrepo:depth:NNN``          hash    ``org/agent`` → how many of its messages shard NNN has, delivered or not
``memrepo:refused``            hash    name of a bound on depths → how many requests producers refused by it
=============================  ======  =======================================================================

On the broker for requests, on the result store for results:

=============================  ======  =======================================================================
``memrepo:body:NAME``          hash    number → chunk of a large request or result
``memrepo:bodies:bytes``       hash    name → bytes of its chunks, and ``total``
``memrepo:bodies:until``       zset    name → until when it is kept (ms)
=============================  ======  =======================================================================

On the result store:

=============================  ======  =======================================================================
``celery-task-meta-TASK``      string  Celery's record of a task; also the channel on which it is announced
``memrepo:ended:SPAN:NUMBER``  set     marks of writes that have ended (see ``memrepo.wire.cancellation``)
``memrepo.replies.CLIENT``     channel records for one client
``memrepo.replies.changes.…``  channel ``org/agent`` at its end: it was written to; the message is empty
=============================  ======  =======================================================================

Times are by Redis' own clock. Numbers of messages rise with every delivery, whichever worker delivers: they begin at
the time in microseconds, so that a server that forgot its last second never gives one twice.
"""

from __future__ import annotations

from memrepo.routing import QUEUE_PREFIX

SHARDS_KEY = "memrepo:shards"
NAMES_KEY = "memrepo:portable_names"
CELLS_KEY = "memrepo:cells"
STORE_KEY = "memrepo:store"
OWNERS_KEY = "memrepo:owners"
LEASES_KEY = "memrepo:leases"
WORKERS_KEY = "memrepo:workers"
WITHDRAWN_KEY = "memrepo:withdrawn"
REFUSED_KEY = "memrepo:refused"
BOUNDS = ("agent_depth_max", "shard_depth_max")
"""What is in there."""

SEQUENCE_KEY = "memrepo:sequence"
FLUSHED_KEY = "memrepo:flushed"
PAYLOADS_BYTES_KEY = "memrepo:bodies:bytes"
PAYLOADS_UNTIL_KEY = "memrepo:bodies:until"
ENDED_PREFIX = "memrepo:ended:"
RECORD_PREFIX = "celery-task-meta-"
REPLIES_PREFIX = "memrepo.replies."

_DIGITS_MAX = 15  # of a number that is a count


def unacked_key(queue: str) -> str:
    """Return the key of a queue's messages that a worker has taken and not settled yet; its HLEN counts them."""
    return f"memrepo:unacked:{queue.removeprefix(QUEUE_PREFIX)}"


def depths_key(queue: str) -> str:
    """Return the key of how many messages of each agent wait in a queue or are taken from it and not settled."""
    return f"memrepo:depth:{queue.removeprefix(QUEUE_PREFIX)}"


def agent_field(org_id: str, agent_id: str) -> str:
    """Return what stands for an agent in a hash."""
    return f"{org_id}/{agent_id}"


def read_count(value: bytes | str | None) -> int:
    """Return a count that the broker gave, as bytes; 0 where somebody has written there what is none."""
    is_count = isinstance(value, bytes) and value.isdigit() and len(value) <= _DIGITS_MAX
    return int(value) if value and is_count else 0


def payload_key(name: str) -> str:
    """Return the key of a payload's chunks."""
    return f"memrepo:body:{name}"


def changes_channel(org_id: str, agent_id: str) -> str:
    """Return the channel on which it is told that a memory was written to."""
    return f"{REPLIES_PREFIX}changes.{org_id}/{agent_id}"


def record_key(task_id: str) -> str:
    """Return the key of a task's record."""
    return RECORD_PREFIX + task_id
