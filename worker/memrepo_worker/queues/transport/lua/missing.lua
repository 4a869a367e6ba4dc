-- KEYS: owners, unacked. ARGV: shard, token, then the numbers that the owner has.
-- Returns {number, message, ...} of what is not acknowledged and not among them.
local missing = {}
if not owned(KEYS[1], ARGV[1], ARGV[2]) then
    return missing
end
local known = {}
for index = 3, #ARGV do
    known[ARGV[index]] = true
end
for _, number in ipairs(redis.call('HKEYS', KEYS[2])) do
    if not known[number] then
        missing[#missing + 1] = number
        missing[#missing + 1] = redis.call('HGET', KEYS[2], number)
    end
end
return missing
