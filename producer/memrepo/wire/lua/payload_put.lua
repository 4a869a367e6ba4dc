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
