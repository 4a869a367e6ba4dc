-- Counts messages that are pushed in the same transaction. KEYS: depths, one per agent. ARGV: agent, and how many more.
-- Never an error: it would be taken for one of the push. What is no number is put right by who serves the shard.
for index = 1, #KEYS do
    redis.pcall('HINCRBY', KEYS[index], ARGV[2 * index - 1], ARGV[2 * index])
end
return 1
