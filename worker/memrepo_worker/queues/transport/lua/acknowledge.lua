-- KEYS: owners, unacked. ARGV: shard, token, numbers. Returns 1, or 0 if the shard has another owner by now.
if not owned(KEYS[1], ARGV[1], ARGV[2]) then
    return 0
end
for index = 3, #ARGV do
    redis.call('HDEL', KEYS[2], ARGV[index])
end
return 1
