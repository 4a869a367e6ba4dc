-- KEYS: owners, queue, unacked, depths. ARGV: shard, token, how many messages, number and agent of each ('' = unknown).
-- Returns 1, or 0 if the shard has another owner by now.
if not owned(KEYS[1], ARGV[1], ARGV[2]) then
    return 0
end
settle(KEYS[2], KEYS[3], KEYS[4], 4, tonumber(ARGV[3]))
return 1
