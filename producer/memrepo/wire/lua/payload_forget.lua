local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function forget(name)
    redis.call('HINCRBY', KEYS[1], 'total', -(redis.call('HGET', KEYS[1], name) or 0))
    redis.call('HDEL', KEYS[1], name)
    redis.call('ZREM', KEYS[2], name)
end
