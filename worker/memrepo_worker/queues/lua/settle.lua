local function settle(queue, unacked, depths, first, count)
    -- Removes messages for good: from ARGV[first] on the number of each, and whose it is ('' = nobody knows: a refused
    -- message may have been counted, too, and then says itself whose it is).
    local less = {}
    for index = first, first + 2 * count - 2, 2 do
        local agent = ARGV[index + 1]
        if agent == '' then
            agent = agent_of(redis.call('HGET', unacked, ARGV[index]) or '')
        end
        if redis.call('HDEL', unacked, ARGV[index]) == 1 and agent then
            less[agent] = (less[agent] or 0) + 1
        end
    end
    -- A shard that has nothing has nothing of anybody: so whatever was counted wrong is right again.
    if redis.call('EXISTS', queue, unacked) == 0 then
        redis.call('DEL', depths)
        return
    end
    for agent, number in pairs(less) do
        local left = redis.pcall('HINCRBY', depths, agent, -number)
        if type(left) == 'table' then  -- somebody wrote something else there
            redis.call('DEL', depths)
        elseif left <= 0 then
            redis.call('HDEL', depths, agent)
        end
    end
end
