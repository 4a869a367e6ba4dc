"""The rights in Redis that producers and workers need: which commands they use, on which of the keys of ``keys``.

``docs/acl.conf`` gives them to two users. A client asks for its own when it connects, a worker and ``memrepo doctor``
at their start; a running worker asks again for what it delivers with, when that was refused.
"""

from __future__ import annotations

from memrepo.redis.rights import SCRIPTS, Right, rights

_RECORDS, _REPLIES, _ENDED = "~celery-task-meta-*", "&memrepo.replies.*", "~memrepo:ended:*"
_QUEUES, _UNACKED, _DEPTHS = "~memrepo.*", "~memrepo:unacked:*", "~memrepo:depth:*"
_CONNECTION = rights("", "ping time")

_PAYLOADS_FETCHED = (
    *rights("~memrepo:body:*", "type hstrlen hget expire"),
    *rights("~memrepo:bodies:*", "type del zadd"),
)
_PAYLOADS_STORED = (
    *rights("~memrepo:body:*", "type hexists hset expire del"),
    *rights("~memrepo:bodies:*", "type del hget hset hincrby hdel zrange zrem zadd zscore"),
)

PRODUCER_ON_BROKER: tuple[Right, ...] = (
    *SCRIPTS,
    *_CONNECTION,
    *rights("", "multi exec"),
    *rights(_QUEUES, "lpush llen lindex"),
    *rights(_UNACKED, "hlen hkeys hget"),
    *rights(_DEPTHS, "hincrby hmget"),
    *rights("~memrepo:refused", "hincrby"),
    *rights("~memrepo:shards", "get"),
    *rights("~memrepo:portable_names", "get"),
    *rights("~memrepo:cells", "get"),
    *rights("~memrepo:owners", "hkeys"),
    *rights("~memrepo:leases", "zrange"),
    *_PAYLOADS_STORED,
)

DURABLE_ON_DISK = rights("~memrepo:flushed", "set")
"""What a producer needs besides where enqueued means flushed. (Whether it may ask WAITAOF is found out by asking.)"""

PRODUCER_ON_RESULTS: tuple[Right, ...] = (
    *SCRIPTS,
    *_CONNECTION,
    *rights(_REPLIES, "subscribe publish"),
    *rights(_RECORDS, "mget getrange exists set"),
    *rights("&celery-task-meta-*", "publish"),
    *rights(_ENDED, "sismember"),
    *_PAYLOADS_FETCHED,
)

DELIVERY: tuple[Right, ...] = (
    *SCRIPTS,
    *_CONNECTION,
    *rights("", "client|tracking"),
    *rights("~memrepo:none", "del"),
    *rights("~memrepo:owners", "hget"),
    *rights("~memrepo:sequence", "incrby set"),
    *rights(_QUEUES, "lindex ltrim llen exists"),
    *rights(_UNACKED, "hset hkeys hget hdel exists"),
    *rights(_DEPTHS, "hincrby hdel del"),
)
"""What a worker delivers and acknowledges messages with."""

_TRIED = (*rights("~memrepo:probe:*", "del set"), *rights("&memrepo:probe:*", "publish"))
"""What is tried out at a worker's start, and by ``memrepo doctor``."""

_SERVING: tuple[Right, ...] = (
    *DELIVERY,
    *_TRIED,
    *rights("", "info"),
    *rights(_QUEUES, "rpush lrange"),
    *rights(_UNACKED, "del"),
    *rights(_DEPTHS, "hvals"),
    *rights("~memrepo:owners", "hset hdel hgetall hexists"),
    *rights("~memrepo:leases", "zadd zrem zrange zscore"),
    *rights("~memrepo:workers", "zadd zrem zrange zremrangebyscore"),
    *rights("~memrepo:withdrawn", "zadd zrem zrange zremrangebyscore"),
    *rights("~memrepo:refused", "hgetall"),
    *rights("~memrepo:shards", "get set exists"),
    *rights("~memrepo:portable_names", "get set exists"),
    *rights("~memrepo:cells", "get set exists"),
    *rights("~memrepo:store", "get set exists"),
    *_PAYLOADS_FETCHED,
    *rights("~memrepo:body:*", "del"),
    *rights("~memrepo:bodies:*", "hget hset hincrby hdel zrange zrem"),
    # Celery's remote control and events.
    *rights("~_kombu.binding*", "sadd srem smembers zadd zrem zrangebyscore del exists"),
    *rights("~*.celery.pidbox", "lpush llen del"),
    *rights("", "script|load script|exists"),
    *rights("", "multi exec"),
)

WORKER_ON_RESULTS: tuple[Right, ...] = (
    *SCRIPTS,
    *_CONNECTION,
    *_TRIED,
    *rights("~memrepo:none", "del"),
    *rights(_RECORDS, "get getrange exists set del"),
    *rights("&celery-task-meta-*", "publish"),
    *rights(_REPLIES, "publish"),
    *rights(_ENDED, "type del sadd ttl expire sismember"),
    *_PAYLOADS_FETCHED,
    *_PAYLOADS_STORED,
)


def worker_on_broker(database: int) -> tuple[Right, ...]:
    """Return what a worker needs on the broker: Celery's channels are named after the database."""
    return (
        *_SERVING,
        *rights(f"&/{database}.celery.pidbox", "psubscribe punsubscribe"),
        *rights(f"&/{database}.celeryev/*", "publish"),
    )
