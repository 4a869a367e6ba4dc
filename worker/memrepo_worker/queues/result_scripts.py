"""The steps of results inside Redis. A meta key holds Celery's JSON form of one task's state."""

from __future__ import annotations

from memrepo_worker.queues.scripts import OWNED, Script

_STORE = """
local function is_final(key)
    -- The meta JSON begins with its status: no need to fetch a large result.
    local status = string.match(redis.call('GETRANGE', key, 0, 40), '"status"%s*:%s*"(%u+)"')
    return status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED'
end

local function store_result(key, value, reply_to, keep_s)
    -- The first final result stays; whoever asks again is told that one.
    if is_final(key) then
        value = redis.call('GET', key)
    else
        redis.call('SET', key, value, 'EX', keep_s)
    end
    redis.call('PUBLISH', key, value)
    if reply_to ~= '' then
        redis.call('PUBLISH', reply_to, value)
    end
end
"""

STORE_RESULTS = Script(
    _STORE
    + """
-- KEYS: one meta key per result. ARGV: seconds to keep, then value and reply channel ('' = none) per key.
for index, key in ipairs(KEYS) do
    store_result(key, ARGV[2 * index], ARGV[2 * index + 1], ARGV[1])
end
return 1
"""
)

FINISH = Script(
    OWNED
    + _STORE
    + """
-- KEYS: owners, unacked, then one meta key per result. ARGV: shard, token, how many messages, their numbers,
-- seconds to keep, then value and reply channel per key. Stores results and acknowledges messages, or does nothing
-- and returns 0 if the shard has another owner by now: that one will settle them.
if not owned(KEYS[1], ARGV[1], ARGV[2]) then
    return 0
end
local messages = tonumber(ARGV[3])
local keep_s = ARGV[4 + messages]
for index = 3, #KEYS do
    local place = 4 + messages + 2 * (index - 2)
    store_result(KEYS[index], ARGV[place - 1], ARGV[place], keep_s)
end
for index = 4, 3 + messages do
    redis.call('HDEL', KEYS[2], ARGV[index])
end
return 1
"""
)

STORE_PROGRESS = Script(
    _STORE
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
