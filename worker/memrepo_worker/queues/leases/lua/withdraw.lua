-- KEYS: withdrawn, workers. ARGV: worker, for how many ms it counts without a word, why.
-- Takes the worker off the list, and tells people why; what was told of workers that are gone is removed. By what a
-- heartbeat uses, too: a worker that lost another right can say so.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
local told = ARGV[1] .. ' '
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.sub(member, 1, #told) == told then
        redis.call('ZREM', KEYS[1], member)
    end
end
redis.call('ZADD', KEYS[1], now_ms + ARGV[2], told .. ARGV[3])
return 1
