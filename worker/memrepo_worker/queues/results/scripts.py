"""The steps of results inside Redis: the worker's part of a record's states, which ``memrepo.wire.cancellation`` lists.

A record's key holds Celery's JSON form of one task's state.
"""

from __future__ import annotations

from memrepo.wire.cancellation import STATUS_OF
from memrepo_worker.queues.scripts import OWNED, Script

_STORE = (
    STATUS_OF
    + """
local function store_result(key, value, reply_to, keep_s)
    -- The first result stays; whoever asks again is told that one. REVOKED is no result: it is found here only if the
    -- server has lost that the task was started, and then what happened wins.
    local status = status_of(key)
    if status == 'SUCCESS' or status == 'FAILURE' then
        value = redis.call('GET', key)
    else
        redis.call('SET', key, value, 'EX', keep_s)
    end
    redis.call('PUBLISH', key, value)
    if reply_to ~= '' then
        redis.call('PUBLISH', reply_to, value)
    end
end

local function store_results(first_key, first, keep_s, marks_key, span_s, marks_kept_s)
    -- From KEYS[first_key] and ARGV[first] on: of each result its key; its value, reply channel, and its mark's set and
    -- number ('' = none).
    local marks_now = nil
    for index = first_key, #KEYS do
        local set, number = ARGV[first + 2], ARGV[first + 3]
        store_result(KEYS[index], ARGV[first], ARGV[first + 1], keep_s)
        if set ~= '' then
            marks_now = marks_now or marks_key .. math.floor(redis.call('TIME')[1] / span_s) .. ':'
            redis.call('SADD', marks_now .. set, number)
            if redis.call('TTL', marks_now .. set) < 0 then
                redis.call('EXPIRE', marks_now .. set, marks_kept_s + span_s)
            end
        end
        first = first + 4
    end
end
"""
)

STORE_RESULTS = Script(
    _STORE
    + """
-- KEYS: one record per result. ARGV: seconds to keep, what the sets of marks are called, seconds that each spans,
-- seconds that they are kept, then per key value, reply channel ('' = none), set and number of its mark ('' = none).
store_results(1, 5, ARGV[1], ARGV[2], ARGV[3], ARGV[4])
return 1
"""
)

FINISH = Script(
    OWNED
    + _STORE
    + """
-- KEYS: owners, unacked, then one record per result. ARGV: shard, token, how many messages, their numbers,
-- then as for STORE_RESULTS. Stores results and acknowledges messages, or does nothing
-- and returns 0 if the shard has another owner by now: that one will settle them.
if not owned(KEYS[1], ARGV[1], ARGV[2]) then
    return 0
end
local last = 3 + tonumber(ARGV[3])
store_results(3, last + 5, ARGV[last + 1], ARGV[last + 2], ARGV[last + 3], ARGV[last + 4])
for index = 4, last do
    redis.call('HDEL', KEYS[2], ARGV[index])
end
return 1
"""
)

STORE_PROGRESS = Script(
    STATUS_OF
    + """
-- KEYS: one record per request. ARGV: seconds to keep, then value and reply channel ('' = none) per key.
-- Returns for each key the state that was found ('' = no record). The value was written unless that is a final one;
-- then who asked again is told that.
local found = {}
for index, key in ipairs(KEYS) do
    local value, reply_to = ARGV[2 * index], ARGV[2 * index + 1]
    local status = status_of(key)
    if status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED' then
        if reply_to ~= '' then
            redis.call('PUBLISH', reply_to, redis.call('GET', key))
        end
    else
        redis.call('SET', key, value, 'EX', ARGV[1])
    end
    found[index] = status
end
return found
"""
)

TAKE_BACK = Script(
    """
-- KEYS: a record. ARGV: what it must still be. Removes it, as if nobody had begun with the task.
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0
"""
)
