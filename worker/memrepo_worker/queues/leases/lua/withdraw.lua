-- KEYS: withdrawn, workers. ARGV: worker, for how many ms it counts without a word, why.
-- Takes the worker off the list, and tells people why; what was told of workers that are gone is removed.
redis.call('ZREM', KEYS[2], ARGV[1])
local told = redis.call('HGETALL', KEYS[1])
for index = 1, #told, 2 do
    if (tonumber(string.match(told[index + 1], '^%d+')) or 0) <= now_ms then
        redis.call('HDEL', KEYS[1], told[index])
    end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now_ms + ARGV[2]) .. ' ' .. ARGV[3])
return 1
