-- KEYS: the queue, and the hash of its messages that a worker has taken. ARGV: task ids. Returns those that are there.
-- Kombu puts the properties last, so the end of a message names its task however large its body is.
local wanted, left, found = {}, #ARGV, {}
for _, id in ipairs(ARGV) do wanted[id] = true end

local function collect(messages)
    for _, message in ipairs(messages) do
        local id = string.match(string.sub(message, -4096), '"correlation_id"%s*:%s*"([^"]+)"')
        if id and wanted[id] then
            wanted[id], left = nil, left - 1
            found[#found + 1] = id
        end
    end
end

for _, number in ipairs(redis.call('HKEYS', KEYS[2])) do  -- one at a time: each may be large
    collect({redis.call('HGET', KEYS[2], number)})
end
local last = redis.call('LLEN', KEYS[1]) - 1
while last >= 0 and left > 0 do  -- from the consuming end: what waits longest is there
    collect(redis.call('LRANGE', KEYS[1], math.max(0, last - 7), last))
    last = last - 8
end
return found
