local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function forget(name)
    -- Not -size: of 0 that is -0, which Redis 7.0 sends to HINCRBY as it stands and takes for no integer.
    local less = 0 - tonumber(redis.call('HGET', KEYS[1], name) or '0')
    redis.call('HINCRBY', KEYS[1], 'total', less)
    local share = redis.call('HGET', KEYS[1], 'share:' .. name)
    if share and redis.call('HINCRBY', KEYS[1], share, less) <= 0 then
        redis.call('HDEL', KEYS[1], share)
    end
    redis.call('HDEL', KEYS[1], name, 'share:' .. name)
    redis.call('ZREM', KEYS[2], name)
end
