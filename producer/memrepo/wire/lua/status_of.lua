local function status_of(key)
    -- The JSON begins with its status: no need to fetch a large result. '' for no record, and for what is none.
    local head = redis.pcall('GETRANGE', key, 0, 40)
    return type(head) == 'string' and string.match(head, '"status"%s*:%s*"(%u+)"') or ''
end
