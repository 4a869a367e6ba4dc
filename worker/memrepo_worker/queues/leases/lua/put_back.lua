local function put_back(unacked, queue)
    -- To the consuming end, the newest first: then the oldest is the next to be delivered, as it was before.
    local numbers = redis.call('HKEYS', unacked)
    table.sort(numbers, function(a, b) return (tonumber(a) or 0) > (tonumber(b) or 0) end)
    for _, number in ipairs(numbers) do
        redis.call('RPUSH', queue, redis.call('HGET', unacked, number))
    end
    redis.call('DEL', unacked)
end
