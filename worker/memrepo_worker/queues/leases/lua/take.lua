-- KEYS: owners, leases, then queue, unacked and depths of each shard. ARGV: worker, lease in ms, then shard and new token.
-- Takes each shard that has no owner or whose lease is over: what its owner had not acknowledged goes back first.
-- Returns the shards taken.
local taken = {}
for index = 3, #ARGV, 2 do
    local shard, token = ARGV[index], ARGV[index + 1]
    local until_ms = tonumber(redis.call('ZSCORE', KEYS[2], shard) or '0')
    if owned(KEYS[1], shard, token) then
        taken[#taken + 1] = shard  -- asked again, because the first answer was lost
    elseif until_ms <= now_ms or redis.call('HEXISTS', KEYS[1], shard) == 0 then
        local place = 3 + (index - 3) / 2 * 3
        put_back(KEYS[place + 1], KEYS[place])
        recount(KEYS[place], KEYS[place + 2])
        redis.call('HSET', KEYS[1], shard, token .. ' ' .. ARGV[1])
        redis.call('ZADD', KEYS[2], now_ms + ARGV[2], shard)
        taken[#taken + 1] = shard
    end
end
return taken
