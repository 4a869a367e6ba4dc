"""What runs inside Redis: each script is one step that nobody can see half of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

Argument = bytes | str | int | float


@dataclass(frozen=True)
class Script:
    """A Lua script, sent by its digest; it is loaded where the server does not know it."""

    source: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)

    def run(self, client: Redis, keys: Sequence[Argument], args: Sequence[Argument]) -> Any:  # noqa: ANN401
        """Run it in one round trip (two when the server has forgotten it) and return Redis' answer."""
        try:
            return client.evalsha(self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self.source, len(keys), *keys, *args)


_IS_FINAL = """
local function is_final(key)
    -- The meta JSON begins with its status: no need to fetch a large result.
    local status = string.match(redis.call('GETRANGE', key, 0, 40), '"status"%s*:%s*"(%u+)"')
    return status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED'
end
"""

STORE_RESULTS = Script(
    _IS_FINAL
    + """
-- KEYS: one meta key per result. ARGV: seconds to keep, then value and reply channel ('' = none) per key.
-- The first final result stays; whoever asks again is told that one. Returns how many were written.
local written = 0
for index, key in ipairs(KEYS) do
    local value, reply_to = ARGV[2 * index], ARGV[2 * index + 1]
    if is_final(key) then
        value = redis.call('GET', key)
    else
        redis.call('SET', key, value, 'EX', ARGV[1])
        written = written + 1
    end
    redis.call('PUBLISH', key, value)
    if reply_to ~= '' then
        redis.call('PUBLISH', reply_to, value)
    end
end
return written
"""
)

STORE_PROGRESS = Script(
    _IS_FINAL
    + """
-- KEYS: one meta key per request. ARGV: seconds to keep, then value and reply channel ('' = none) per key.
-- Returns for each key 1 if the value was written, 0 if a final result is there; who asked again is told that.
local answers = {}
for index, key in ipairs(KEYS) do
    local value, reply_to = ARGV[2 * index], ARGV[2 * index + 1]
    if is_final(key) then
        answers[index] = 0
        if reply_to ~= '' then
            redis.call('PUBLISH', reply_to, redis.call('GET', key))
        end
    else
        redis.call('SET', key, value, 'EX', ARGV[1])
        answers[index] = 1
    end
end
return answers
"""
)
