-- KEYS: owners, unacked, then one record per result. ARGV: shard, token, how many messages, their numbers,
-- then as for STORE_RESULTS. Stores results and acknowledges messages, or does nothing
-- and returns 0 if the shard has another owner by now: that one will settle them.
if not owned(KEYS[1], ARGV[1], ARGV[2]) then
    return 0
end
local last = 3 + tonumber(ARGV[3])
store_results(3, last + 5, ARGV[last + 1], ARGV[last + 2], ARGV[last + 3], ARGV[last + 4])
for index = 4, last do
    redis.call('HDEL', KEYS[2], ARGV[index])
end
return 1
