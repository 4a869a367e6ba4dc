-- KEYS: one record per message. ARGV: seconds to keep, then value ('' = it names no job) and reply channel ('' = none)
-- of each. Returns for each the state that was found.
local found = {}
for index = 1, #KEYS do
    found[index] = fail(KEYS[index], ARGV[2 * index], ARGV[2 * index + 1], ARGV[1])
end
return found
