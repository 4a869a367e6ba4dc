local messages_left, bytes_left = 2000, 8388608  -- that a take-over may look at

local function recount(queue, depths)
    -- Puts right how many messages each agent has in a shard of which none is delivered. Mostly the counts add up, and
    -- nothing is looked at. What is over the bound is not counted: better one too many is taken than one refused.
    local sum = 0
    local counts = redis.pcall('HVALS', depths)
    if counts.err then
        redis.call('DEL', depths)
        counts = {}
    end
    for _, count in ipairs(counts) do
        sum = sum + (tonumber(count) or 0)
    end
    local depth = redis.call('LLEN', queue)
    if sum == depth then
        return
    end
    redis.call('DEL', depths)
    for place = 0, depth - 1, 50 do
        for _, message in ipairs(redis.call('LRANGE', queue, place, place + 49)) do
            messages_left, bytes_left = messages_left - 1, bytes_left - #message
            local agent = agent_of(message)
            if agent then
                redis.call('HINCRBY', depths, agent, 1)
            end
        end
        if messages_left <= 0 or bytes_left <= 0 then
            return
        end
    end
end
