local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

-- Whoever may store payloads may write anything beside them. What is not ours is counted anew, or nobody could go on.
local function only(key, kind)
    local found = redis.call('TYPE', key).ok
    if found ~= kind and found ~= 'none' then
        redis.call('DEL', key)
    end
end

local function count_of(name)
    -- What HINCRBY would refuse counts as nothing, and is removed.
    local value = redis.call('HGET', KEYS[1], name)
    if value and (#value > 15 or not (value == '0' or string.find(value, '^%-?[1-9]%d*$'))) then
        redis.call('HDEL', KEYS[1], name)
        return 0, true
    end
    return tonumber(value or '0')
end

local function counted_anew()
    local total = 0
    for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
        total = total + math.max(0, count_of(name))
    end
    redis.call('HSET', KEYS[1], 'total', string.format('%.0f', total))
    return total
end

local function total_of_all()
    local total, was_none = count_of('total')
    return was_none and counted_anew() or total
end

local function forget(name)
    -- Not -size: of 0 that is -0, which Redis 7.0 sends to HINCRBY as it stands and takes for no integer.
    local less = 0 - count_of(name)
    total_of_all()
    redis.call('HINCRBY', KEYS[1], 'total', less)
    local share = redis.call('HGET', KEYS[1], 'share:' .. name)
    if share then
        count_of(share)
        if redis.call('HINCRBY', KEYS[1], share, less) <= 0 then
            redis.call('HDEL', KEYS[1], share)
        end
    end
    redis.call('HDEL', KEYS[1], name, 'share:' .. name)
    redis.call('ZREM', KEYS[2], name)
end
