-- Before a chunk of a result. KEYS[4]: its task's record; KEYS[5]: owners, where this server keeps them. ARGV[9], ARGV[10]:
-- shard and token under which the task was taken. Forbids it where the result was told, or is the next owner's to tell.
if KEYS[5] and not owned(KEYS[5], ARGV[9], ARGV[10]) then
    return -3
end
local told = status_of(KEYS[4])
if told == 'SUCCESS' or told == 'FAILURE' then
    return -3
end
