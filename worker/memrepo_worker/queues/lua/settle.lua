local function settle(queue, unacked, depths, first, count)
    -- Removes messages for good: from ARGV[first] on the number of each, and whose it is ('' = nobody knows).
    local less = {}
    for index = first, first + 2 * count - 2, 2 do
        if redis.call('HDEL', unacked, ARGV[index]) == 1 and ARGV[index + 1] ~= '' then
            less[ARGV[index + 1]] = (less[ARGV[index + 1]] or 0) + 1
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
