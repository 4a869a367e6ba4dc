-- KEYS: owners, then record, queue, unacked and depths of each message. ARGV: seconds to keep, then value and reply channel as for
-- FAIL_ALL, shard, token, number and agent ('' = unknown) of each. Fails the jobs and removes the messages, as one step; returns for each the
-- state that was found, or LOST where the shard has another owner by now, who will refuse it.
local found = {}
local first = 2
for index = 2, #KEYS, 4 do
    if owned(KEYS[1], ARGV[first + 2], ARGV[first + 3]) then
        found[#found + 1] = fail(KEYS[index], ARGV[first], ARGV[first + 1], ARGV[1])
        settle(KEYS[index + 1], KEYS[index + 2], KEYS[index + 3], first + 4, 1)
    else
        found[#found + 1] = 'LOST'
    end
    first = first + 6
end
return found
