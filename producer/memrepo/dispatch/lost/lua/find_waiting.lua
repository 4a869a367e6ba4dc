-- Goes on looking for tasks among the messages that wait in a queue, from the consuming end on.
-- KEYS: the queue, and the hash of its messages that a worker has taken. ARGV: messages to look at, bytes to look at, how many were seen, the task of the last one seen, ids...
-- Returns {how many are seen now, or -1 at the end of the queue; the task of the last one; how many are
-- taken; ids that were found...}.
local messages_left, bytes_left, seen, last = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local wanted = {}
for number = 5, #ARGV do wanted[ARGV[number]] = true end

local function task_at(place)  -- counted from the consuming end; nil behind the last
    local message = redis.call('LINDEX', KEYS[1], -place)
    if not message then return nil end
    messages_left, bytes_left = messages_left - 1, bytes_left - #message
    -- Kombu puts the properties last, so the end of a message names its task however large its body is.
    return string.match(string.sub(message, -4096), '"correlation_id"%s*:%s*"([^"]+)"') or ''
end

-- Meanwhile some were taken: the last one seen is nearer to the end, or gone with all before it.
while seen > 0 and messages_left > 0 and bytes_left > 0 and task_at(seen) ~= last do seen = seen - 1 end

local found = {}
while messages_left > 0 and bytes_left > 0 do
    local task = task_at(seen + 1)
    if not task then return {-1, last, redis.call('HLEN', KEYS[2]), unpack(found)} end
    seen, last = seen + 1, task
    if wanted[task] then found[#found + 1] = task end
end
return {seen, last, redis.call('HLEN', KEYS[2]), unpack(found)}
