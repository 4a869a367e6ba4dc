-- KEYS: bytes, until, payload. ARGV: name, number, chunk, bytes that all payloads may take, seconds to keep, 1 if what
-- there is of the payload has to go first; then whose it is ('' = nobody's), and bytes that all of theirs may take.
-- Returns -1; -2 where they have no room left; or how many bytes are taken where nobody has: then nothing of it is left.
local function total_to_go_by(size, bytes_max)
    -- A total that somebody wrote is believed for a minute, and not where it refuses or is none: then it is counted anew,
    -- once a second at most. When that was lies among the payloads' ends, under a name that none of them has.
    local due_ms = tonumber(redis.call('ZSCORE', KEYS[2], 'counted') or '0') - now_ms
    local total = total_of_all()
    local is_odd = total < 0 or total + size > bytes_max
    if due_ms <= 0 or due_ms > 60000 or is_odd and due_ms < 59000 then
        total = counted_anew()
        redis.call('ZADD', KEYS[2], now_ms + 60000, 'counted')
    end
    return total
end

only(KEYS[1], 'hash')
only(KEYS[2], 'zset')
only(KEYS[3], 'hash')
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', now_ms, 'BYSCORE')) do
    forget(name)
end
local function remove()
    redis.call('DEL', KEYS[3])
    forget(ARGV[1])
end
if ARGV[6] == '1' then
    remove()
end
if redis.call('HEXISTS', KEYS[3], ARGV[2]) == 0 then
    local share = 'agent:' .. ARGV[7]
    if ARGV[7] ~= '' and count_of(share) + #ARGV[3] > tonumber(ARGV[8]) then
        remove()
        return -2
    end
    local total = total_to_go_by(#ARGV[3], tonumber(ARGV[4]))
    if total + #ARGV[3] > tonumber(ARGV[4]) then
        remove()
        return total
    end
    if ARGV[7] ~= '' then
        redis.call('HSET', KEYS[1], 'share:' .. ARGV[1], share)
        redis.call('HINCRBY', KEYS[1], share, #ARGV[3])
    end
    redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
    count_of(ARGV[1])
    redis.call('HINCRBY', KEYS[1], ARGV[1], #ARGV[3])
    redis.call('HINCRBY', KEYS[1], 'total', #ARGV[3])
end
redis.call('EXPIRE', KEYS[3], ARGV[5])
redis.call('ZADD', KEYS[2], now_ms + ARGV[5] * 1000, ARGV[1])
return -1
