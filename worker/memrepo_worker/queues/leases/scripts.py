"""The steps of ownership and delivery inside Redis (see ``keys`` for what they work on)."""

from __future__ import annotations

from memrepo_worker.queues.scripts import OWNED, Script

_CLOCK = """
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)
"""

_PUT_BACK = """
local function put_back(unacked, queue)
    -- To the consuming end, the newest first: then the oldest is the next to be delivered, as it was before.
    local numbers = redis.call('HKEYS', unacked)
    table.sort(numbers, function(a, b) return tonumber(a) > tonumber(b) end)
    for _, number in ipairs(numbers) do
        redis.call('RPUSH', queue, redis.call('HGET', unacked, number))
    end
    redis.call('DEL', unacked)
end
"""

BEAT = Script(
    _CLOCK
    + OWNED
    + """
-- KEYS: owners, leases, workers. ARGV: worker, lease in ms, then shard and token of each shard it owns.
-- Extends the worker's life and its leases, and returns {lost shards, workers alive, owners, expired shards}.
local until_ms = now_ms + ARGV[2]
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now_ms)
redis.call('ZADD', KEYS[3], until_ms, ARGV[1])
local lost = {}
for index = 3, #ARGV, 2 do
    if owned(KEYS[1], ARGV[index], ARGV[index + 1]) then
        redis.call('ZADD', KEYS[2], until_ms, ARGV[index])
    else
        lost[#lost + 1] = ARGV[index]
    end
end
return {
    lost,
    redis.call('ZRANGE', KEYS[3], 0, -1),
    redis.call('HGETALL', KEYS[1]),
    redis.call('ZRANGE', KEYS[2], '-inf', now_ms, 'BYSCORE'),
}
"""
)

TAKE = Script(
    _CLOCK
    + OWNED
    + _PUT_BACK
    + """
-- KEYS: owners, leases, then queue and unacked of each shard. ARGV: worker, lease in ms, then shard and new token.
-- Takes each shard that has no owner or whose lease is over: what its owner had not acknowledged goes back first.
-- Returns the shards taken.
local taken = {}
for index = 3, #ARGV, 2 do
    local shard, token = ARGV[index], ARGV[index + 1]
    local until_ms = tonumber(redis.call('ZSCORE', KEYS[2], shard) or '0')
    if owned(KEYS[1], shard, token) then
        taken[#taken + 1] = shard  -- asked again, because the first answer was lost
    elseif until_ms <= now_ms or redis.call('HEXISTS', KEYS[1], shard) == 0 then
        put_back(KEYS[index + 1], KEYS[index])
        redis.call('HSET', KEYS[1], shard, token .. ' ' .. ARGV[1])
        redis.call('ZADD', KEYS[2], now_ms + ARGV[2], shard)
        taken[#taken + 1] = shard
    end
end
return taken
"""
)

RELEASE = Script(
    OWNED
    + _PUT_BACK
    + """
-- KEYS: owners, leases, workers, then queue and unacked of each shard. ARGV: worker, 1 if it leaves for good,
-- then shard and token of each. What was delivered and not acknowledged goes back, in order.
if ARGV[2] == '1' then
    redis.call('ZREM', KEYS[3], ARGV[1])
end
local released = 0
for index = 3, #ARGV, 2 do
    local shard = ARGV[index]
    if owned(KEYS[1], shard, ARGV[index + 1]) then
        put_back(KEYS[index + 2], KEYS[index + 1])
        redis.call('HDEL', KEYS[1], shard)
        redis.call('ZREM', KEYS[2], shard)
        released = released + 1
    end
end
return released
"""
)

POP = Script(
    _CLOCK
    + OWNED
    + """
-- KEYS: owners, sequence, then queue and unacked of each shard. ARGV: at most so many messages of each shard,
-- about so many bytes in all, the most that one message may have, then shard and token of each. Delivers from the
-- consuming end; a message is in the queue or among the unacknowledged, never elsewhere. Of one that is too large
-- only the end is delivered and kept, which is no envelope.
-- Returns for each shard {1 if owned, messages left, {number, message, ...}}. The LLEN comes last: it is what
-- makes the server tell us of the next message (CLIENT TRACKING).
local size, last = 0, nil
local answers = {}
for index = 4, #ARGV, 2 do
    local queue, unacked = KEYS[index - 1], KEYS[index]
    local count, delivered = 0, {}
    local is_ours = owned(KEYS[1], ARGV[index], ARGV[index + 1])
    while is_ours and count < tonumber(ARGV[1]) and size < tonumber(ARGV[2]) do
        local message = redis.call('LINDEX', queue, -1)
        if not message then
            break
        end
        if #message > tonumber(ARGV[3]) then
            message = string.sub(message, -1024)
        end
        -- INCRBY and not GET: reading the number must not make the server watch it for us.
        last = math.max(last or redis.call('INCRBY', KEYS[2], 0), now_us) + 1
        local number = string.format('%.0f', last)
        redis.call('HSET', unacked, number, message)
        redis.call('LTRIM', queue, 0, -2)  -- last: a full server refuses what adds, and nothing is undone
        delivered[#delivered + 1] = number
        delivered[#delivered + 1] = message
        count = count + 1
        size = size + #message
    end
    answers[#answers + 1] = {is_ours and 1 or 0, redis.call('LLEN', queue), delivered}
end
if last then
    redis.call('SET', KEYS[2], string.format('%.0f', last))
end
return answers
"""
)

MISSING = Script(
    OWNED
    + """
-- KEYS: owners, unacked. ARGV: shard, token, then the numbers that the owner has.
-- Returns {number, message, ...} of what is not acknowledged and not among them.
local missing = {}
if not owned(KEYS[1], ARGV[1], ARGV[2]) then
    return missing
end
local known = {}
for index = 3, #ARGV do
    known[ARGV[index]] = true
end
for _, number in ipairs(redis.call('HKEYS', KEYS[2])) do
    if not known[number] then
        missing[#missing + 1] = number
        missing[#missing + 1] = redis.call('HGET', KEYS[2], number)
    end
end
return missing
"""
)

ACKNOWLEDGE = Script(
    OWNED
    + """
-- KEYS: owners, unacked. ARGV: shard, token, numbers. Returns 1, or 0 if the shard has another owner by now.
if not owned(KEYS[1], ARGV[1], ARGV[2]) then
    return 0
end
for index = 3, #ARGV do
    redis.call('HDEL', KEYS[2], ARGV[index])
end
return 1
"""
)
