-- KEYS: owners, leases, workers, then what is agreed on. ARGV: worker ('' = one that takes no share), lease in ms, the
-- value of each key that is agreed on, then shard and token of each shard it owns.
-- Records what the server has lost of what is agreed on, extends the worker's life and its leases, and returns {lost shards, workers alive, owners, expired shards, how many ms
-- are left of the lease or life that lasts longest}.
local until_ms = now_ms + ARGV[2]
local longest_ms = 0
for index = 2, 3 do
    local last = redis.call('ZRANGE', KEYS[index], -1, -1, 'WITHSCORES')[2]
    longest_ms = math.max(longest_ms, tonumber(last or now_ms) - now_ms)
end
-- Whoever's time is over much later than by any heartbeat had it from a clock that was set back since. It gets a lease
-- anew: the living prolong theirs, and the dead are not waited for until that clock's time comes again.
for index = 2, 3 do
    for _, member in ipairs(redis.call('ZRANGE', KEYS[index], now_ms + 2 * ARGV[2], '+inf', 'BYSCORE')) do
        redis.call('ZADD', KEYS[index], until_ms, member)
    end
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now_ms)
if ARGV[1] ~= '' then
    redis.call('ZADD', KEYS[3], until_ms, ARGV[1])
end
for index = 4, #KEYS do
    if redis.call('EXISTS', KEYS[index]) == 0 then
        redis.call('SET', KEYS[index], ARGV[index - 1])
    end
end
local lost = {}
for index = #KEYS, #ARGV, 2 do
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
    longest_ms,
}
