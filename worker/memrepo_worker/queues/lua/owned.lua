local function owned(owners, shard, token)
    local owner = redis.call('HGET', owners, shard)
    return owner and string.sub(owner, 1, #token + 1) == token .. ' '
end
