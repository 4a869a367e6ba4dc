"""The names of what memrepo keeps on the broker beside the queues themselves.

=========================  ======  ==============================================================
``memrepo:owners``         hash    shard → ``token worker``; only a take-over or a release changes it
``memrepo:leases``         zset    shard → until when its owner may go on without a heartbeat (ms)
``memrepo:workers``        zset    worker → until when it counts as alive (ms)
``memrepo:sequence``       string  the last number given to a delivered message
``memrepo:unacked:NNN``    hash    number → message: delivered by shard NNN's owner, not acknowledged
=========================  ======  ==============================================================

Times are by Redis' own clock. Numbers rise with every delivery, whichever worker delivers: they begin at the time
in microseconds, so that a server that forgot its last second never gives one twice.
"""

from __future__ import annotations

from memrepo import routing

OWNERS = routing.OWNERS_KEY
LEASES = routing.LEASES_KEY
WORKERS = "memrepo:workers"
SEQUENCE = "memrepo:sequence"


def unacked_key(shard: int) -> str:
    """Return the key of a shard's delivered and not yet acknowledged messages; its HLEN counts them."""
    return routing.unacked_key(routing.queue_name(shard))
