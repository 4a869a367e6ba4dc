-- KEYS: payload. ARGV: number, bytes that a chunk may have. Returns the chunk, or nothing.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
    return false
end
local size = redis.call('HSTRLEN', KEYS[1], ARGV[1])
return size > 0 and size <= tonumber(ARGV[2]) and redis.call('HGET', KEYS[1], ARGV[1])
