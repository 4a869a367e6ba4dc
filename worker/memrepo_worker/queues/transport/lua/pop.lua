-- KEYS: owners, sequence, then queue and unacked of each shard. ARGV: at most so many messages of each shard,
-- about so many bytes in all, the most that one message may have, then shard and token of each. Delivers from the
-- consuming end; a message is in the queue or among the unacknowledged, never elsewhere. Of one that is too large
-- only the end is delivered and kept, which is no envelope.
-- Returns for each shard {1 if owned, messages left, {number, message, ...}}. The LLEN comes last: it is what
-- makes the server tell us of the next message (CLIENT TRACKING).
local size, last = 0, nil
local answers = {}
for index = 4, #ARGV, 2 do
    local queue, unacked = KEYS[index - 1], KEYS[index]
    local count, delivered = 0, {}
    local is_ours = owned(KEYS[1], ARGV[index], ARGV[index + 1])
    while is_ours and count < tonumber(ARGV[1]) and size < tonumber(ARGV[2]) do
        local message = redis.call('LINDEX', queue, -1)
        if not message then
            break
        end
        if #message > tonumber(ARGV[3]) then
            message = string.sub(message, -1024)
        end
        -- INCRBY and not GET: reading the number must not make the server watch it for us.
        last = math.max(last or redis.call('INCRBY', KEYS[2], 0), now_us) + 1
        local number = string.format('%.0f', last)
        redis.call('HSET', unacked, number, message)
        redis.call('LTRIM', queue, 0, -2)  -- last: a full server refuses what adds, and nothing is undone
        delivered[#delivered + 1] = number
        delivered[#delivered + 1] = message
        count = count + 1
        size = size + #message
    end
    answers[#answers + 1] = {is_ours and 1 or 0, redis.call('LLEN', queue), delivered}
end
if last then
    redis.call('SET', KEYS[2], string.format('%.0f', last))
end
return answers
