"""Where payloads wait: chunks under expiring keys of Redis, and a count of how much they take in all.

==============================  ====  =====================================================
``memrepo:payload:NAME``           hash  number → chunk
``memrepo:payloads:bytes``        hash  name → bytes of its chunks, and ``total``
``memrepo:payloads:until``        zset  name → until when it is kept (ms, by Redis' own clock)
==============================  ====  =====================================================

A name is ``request:TASK-ID`` or ``result:TASK-ID``. The same payload put twice is there once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from memrepo.errors import MemoryRepoBusyError
from memrepo.limits import HORIZON_S
from memrepo.wire.payload import CHUNK_BYTES_MAX, BrokenPayloadError, Payload, PayloadClaim, decode, encode

if TYPE_CHECKING:
    from redis import Redis

REQUEST_KEPT_S = HORIZON_S
"""As long as a request may wait: an older one is not executed."""

FETCHED_KEPT_S = 60
"""How long a result stays after it was fetched, for others who know its id."""

BYTES_KEY, UNTIL_KEY = "memrepo:bodies:bytes", "memrepo:bodies:until"

_FORGET = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function forget(name)
    redis.call('HINCRBY', KEYS[1], 'total', -(redis.call('HGET', KEYS[1], name) or 0))
    redis.call('HDEL', KEYS[1], name)
    redis.call('ZREM', KEYS[2], name)
end
"""

_PUT = (
    _FORGET
    + """
-- KEYS: bytes, until, payload. ARGV: name, number, chunk, bytes that all payloads may take, seconds to keep, and 1 if
-- what there is of the payload has to go first.
-- Returns -1, or how many bytes are taken where there is no room.
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', now_ms, 'BYSCORE')) do
    forget(name)
end
if ARGV[6] == '1' then
    redis.call('DEL', KEYS[3])
    forget(ARGV[1])
end
if redis.call('HEXISTS', KEYS[3], ARGV[2]) == 0 then
    local total = tonumber(redis.call('HGET', KEYS[1], 'total') or '0')
    if total + #ARGV[3] > tonumber(ARGV[4]) then
        return total
    end
    redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
    redis.call('HINCRBY', KEYS[1], ARGV[1], #ARGV[3])
    redis.call('HINCRBY', KEYS[1], 'total', #ARGV[3])
end
redis.call('EXPIRE', KEYS[3], ARGV[5])
redis.call('ZADD', KEYS[2], now_ms + ARGV[5] * 1000, ARGV[1])
return -1
"""
)

_GET = """
-- KEYS: payload. ARGV: number, bytes that a chunk may have. Returns the chunk, or nothing.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
    return false
end
local size = redis.call('HSTRLEN', KEYS[1], ARGV[1])
return size > 0 and size <= tonumber(ARGV[2]) and redis.call('HGET', KEYS[1], ARGV[1])
"""

_KEEP = (
    _FORGET
    + """
-- KEYS: bytes, until, then payloads. ARGV: seconds to keep (0 = remove), then their names.
for index = 3, #KEYS do
    local name = ARGV[index - 1]
    if ARGV[1] == '0' then
        redis.call('DEL', KEYS[index])
        forget(name)
    elseif redis.call('EXPIRE', KEYS[index], ARGV[1]) == 1 then
        redis.call('ZADD', KEYS[2], 'XX', now_ms + ARGV[1] * 1000, name)
    end
end
return 1
"""
)


class PayloadMissingError(LookupError):
    """The payload is not there: used up, expired, or lost by the server."""


def request_payload(task_id: str) -> str:
    """Return the name of the payload of a task's request."""
    return f"request:{task_id}"


def result_payload(task_id: str) -> str:
    """Return the name of the payload of a task's result."""
    return f"result:{task_id}"


class PayloadStore:
    """The payloads on one server. Every method may raise ``redis.RedisError``; doing it again is safe."""

    def __init__(self, client: Redis, bytes_max: int) -> None:
        """``bytes_max`` is what the chunks of all payloads on the server may take together."""
        self._bytes_max = bytes_max
        self._put, self._get, self._keep = map(client.register_script, (_PUT, _GET, _KEEP))

    def put(
        self, name: str, payload: Payload, keep_s: int, *, compress: bool = True, anew: bool = False
    ) -> PayloadClaim:
        """Store a payload, and return how to claim it.

        ``anew``: it may differ from one of the same name that is there.

        Raises:
            MemoryRepoBusyError: there is no room; nothing of it is left.
        """
        count = 0
        keys = (BYTES_KEY, UNTIL_KEY, key_of(name))
        for chunk in encode(payload, compress=compress):
            args = (name, count, chunk, self._bytes_max, keep_s, int(anew and count == 0))
            taken = int(self._put(keys=keys, args=args))
            if taken >= 0:
                self.remove([name])
                raise _no_room(taken, self._bytes_max)
            count += 1
        return PayloadClaim(chunks=count, size_bytes=payload.size_bytes)

    def get(self, name: str, claim: PayloadClaim) -> Payload:
        """Return a payload.

        Raises:
            PayloadMissingError: it, or a part of it, is not there.
            BrokenPayloadError: it is not what the claim says.
        """
        if claim.chunks > 1 + 2 * claim.size_bytes // CHUNK_BYTES_MAX:
            raise BrokenPayloadError("more chunks than it can have")
        return decode(self._chunks(name, claim.chunks), claim.size_bytes)

    def keep(self, names: Sequence[str], keep_s: int) -> None:
        """Keep payloads for that long from now on."""
        if names:
            keys = [BYTES_KEY, UNTIL_KEY, *map(key_of, names)]
            self._keep(keys=keys, args=[keep_s, *names])

    def remove(self, names: Sequence[str]) -> None:
        """Remove payloads, if they are there."""
        self.keep(names, 0)

    def _chunks(self, name: str, count: int) -> Iterator[bytes]:
        for number in range(count):
            chunk = self._get(keys=[key_of(name)], args=[number, CHUNK_BYTES_MAX])
            if chunk is None:
                raise PayloadMissingError(name)
            yield chunk


def key_of(name: str) -> str:
    """Return the key of a payload's chunks."""
    return f"memrepo:body:{name}"


def _no_room(taken: int, limit: int) -> MemoryRepoBusyError:
    return MemoryRepoBusyError(
        f"Large requests and results take {taken} bytes on the broker, and may take bodies_bytes_max ({limit}). "
        "Wait, then send again.",
        {"bodies_bytes": taken, "bodies_bytes_max": limit},
    )
