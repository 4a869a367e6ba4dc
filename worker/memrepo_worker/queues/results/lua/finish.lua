-- KEYS: owners, queue, unacked, depths, then one record per result. ARGV: shard, token, how many messages, number and
-- agent of each ('' = unknown), then as for STORE_RESULTS. Stores results and acknowledges messages, or does nothing
-- and returns 0 if the shard has another owner by now: that one will settle them.
if not owned(KEYS[1], ARGV[1], ARGV[2]) then
    return 0
end
local count = tonumber(ARGV[3])
local last = 3 + 2 * count
store_results(5, last + 6, ARGV[last + 1], ARGV[last + 2], ARGV[last + 3], ARGV[last + 4], ARGV[last + 5])
settle(KEYS[2], KEYS[3], KEYS[4], 4, count)
return 1
