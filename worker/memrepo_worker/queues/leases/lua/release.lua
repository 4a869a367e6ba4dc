-- KEYS: owners, leases, workers, then queue and unacked of each shard. ARGV: worker, 1 if it leaves for good,
-- then shard and token of each. What was delivered and not acknowledged goes back, in order.
if ARGV[2] == '1' then
    redis.call('ZREM', KEYS[3], ARGV[1])
end
local released = 0
for index = 3, #ARGV, 2 do
    local shard = ARGV[index]
    if owned(KEYS[1], shard, ARGV[index + 1]) then
        put_back(KEYS[index + 2], KEYS[index + 1])
        redis.call('HDEL', KEYS[1], shard)
        redis.call('ZREM', KEYS[2], shard)
        released = released + 1
    end
end
return released
