-- Counts messages that are pushed in the same transaction. KEYS: depths, one per agent; then queue and unacked of each
-- shard that is looked at. ARGV: agent, and how many more. Returns how many wait in each of those shards, -1 where that
-- cannot be told. Never an error: it would be taken for one of the push. What is no number is put right by who serves
-- the shard.
local counted = #ARGV / 2
for index = 1, counted do
    redis.pcall('HINCRBY', KEYS[index], ARGV[2 * index - 1], ARGV[2 * index])
end
local waiting = {}
for index = counted + 1, #KEYS, 2 do
    local queued, taken = redis.pcall('LLEN', KEYS[index]), redis.pcall('HLEN', KEYS[index + 1])
    local told = type(queued) == 'number' and type(taken) == 'number'
    waiting[#waiting + 1] = told and queued + taken or -1
end
return waiting
