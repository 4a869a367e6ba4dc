-- ARGV: calls, each as one line, the command first. Returns the numbers of those that this user may not make.
-- A server older than Redis 7 cannot say so: there every call counts as allowed until it is made.
local may = redis.acl_check_cmd
local missing = {}
if not may then
    return missing
end
for number, call in ipairs(ARGV) do
    local words = {}
    for word in string.gmatch(call, '%S+') do
        words[#words + 1] = word
    end
    local known, allowed = pcall(may, unpack(words))  -- a command that the server does not know raises
    if not (known and allowed) then
        missing[#missing + 1] = number
    end
end
return missing
