local function fail(key, value, reply_to, keep_s)
    -- Fails a job unless it is over, REVOKED too; returns the state that its record had. A message without a job has ''.
    if value == '' then
        return ''
    end
    local status = status_of(key)
    if status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED' then
        value = redis.call('GET', key)
    else
        redis.call('SET', key, value, 'EX', keep_s)
        redis.call('PUBLISH', key, value)
    end
    if reply_to ~= '' then
        redis.call('PUBLISH', reply_to, value)
    end
    return status
end
