-- Goes on looking for tasks among the messages of a queue that a worker has taken, in the order of their numbers.
-- KEYS: the hash of these. ARGV: messages to look at, bytes to look at, the number of the last one seen, ids...
-- Returns {the number of the last one seen now, or -1 behind the last; ids that were found...}.
local messages_left, bytes_left, last = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local wanted, numbers, found = {}, {}, {}
for number = 4, #ARGV do wanted[ARGV[number]] = true end
for _, number in ipairs(redis.call('HKEYS', KEYS[1])) do
    if tonumber(number) > last then numbers[#numbers + 1] = tonumber(number) end
end
table.sort(numbers)

for _, number in ipairs(numbers) do
    if messages_left <= 0 or bytes_left <= 0 then return {string.format('%.0f', last), unpack(found)} end
    local message = redis.call('HGET', KEYS[1], string.format('%.0f', number)) or ''
    messages_left, bytes_left, last = messages_left - 1, bytes_left - #message, number
    local task = string.match(string.sub(message, -4096), '"correlation_id"%s*:%s*"([^"]+)"')
    if task and wanted[task] then found[#found + 1] = task end
end
return {'-1', unpack(found)}
