-- KEYS: one record per request. ARGV: seconds to keep, then value and reply channel ('' = none) per key.
-- Returns for each key the state that was found ('' = no record). The value was written unless that is a final one;
-- then who asked again is told that.
local found = {}
for index, key in ipairs(KEYS) do
    local value, reply_to = ARGV[2 * index], ARGV[2 * index + 1]
    local status = status_of(key)
    if status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED' then
        if reply_to ~= '' then
            redis.call('PUBLISH', reply_to, redis.call('GET', key))
        end
    else
        redis.call('SET', key, value, 'EX', ARGV[1])
    end
    found[index] = status
end
return found
