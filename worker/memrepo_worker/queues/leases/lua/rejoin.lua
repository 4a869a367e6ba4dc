-- KEYS: withdrawn. ARGV: worker. Tells people no longer why it cannot serve.
local told = ARGV[1] .. ' '
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.sub(member, 1, #told) == told then
        redis.call('ZREM', KEYS[1], member)
    end
end
return 1
