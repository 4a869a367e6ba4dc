-- KEYS: the record. ARGV: a cancelled task's record, seconds to keep it, a reply channel ('' = none), set and number of
-- the task's mark, what the sets of marks are called, seconds that each spans, seconds that they are kept.
-- Returns 1 if the task is cancelled, now or before; 0 if it was started, and then nothing was changed.
if redis.call('EXISTS', KEYS[1]) == 1 then
    return status_of(KEYS[1]) == 'REVOKED' and 1 or 0
end
local span = math.floor(redis.call('TIME')[1] / ARGV[7])
for back = 0, math.ceil(ARGV[8] / ARGV[7]) do
    local marked = redis.pcall('SISMEMBER', ARGV[6] .. span - back .. ':' .. ARGV[4], ARGV[5])
    if type(marked) == 'table' and not string.find(marked.err, 'WRONGTYPE', 1, true) then
        return marked
    end
    if marked ~= 0 then  -- or where its mark would be lies something else: it may have been executed
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[1])
if ARGV[3] ~= '' then
    redis.call('PUBLISH', ARGV[3], ARGV[1])
end
return 1
