-- KEYS: bytes, until, then payloads. ARGV: seconds to keep (0 = remove), then their names.
only(KEYS[2], 'zset')
if ARGV[1] == '0' then
    only(KEYS[1], 'hash')
end
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
