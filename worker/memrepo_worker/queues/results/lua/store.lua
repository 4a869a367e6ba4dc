local function store_result(key, value, reply_to, keep_s)
    -- The first result stays; whoever asks again is told that one. REVOKED is no result: it is found here only if the
    -- server has lost that the task was started, and then what happened wins.
    local status = status_of(key)
    if status == 'SUCCESS' or status == 'FAILURE' then
        value = redis.call('GET', key)
    else
        redis.call('SET', key, value, 'EX', keep_s)
    end
    redis.call('PUBLISH', key, value)
    if reply_to ~= '' then
        redis.call('PUBLISH', reply_to, value)
    end
end

local function store_results(first_key, first, keep_s, marks_key, span_s, marks_kept_s, tell)
    -- From KEYS[first_key] and ARGV[first] on: of each result its key; its value, reply channel, and its mark's set and
    -- number ('' = none). Then it is told on the channel ``tell`` ('' = none) that there is something new.
    local marks_now = nil
    for index = first_key, #KEYS do
        local set, number = ARGV[first + 2], ARGV[first + 3]
        store_result(KEYS[index], ARGV[first], ARGV[first + 1], keep_s)
        if set ~= '' then
            marks_now = marks_now or marks_key .. math.floor(redis.call('TIME')[1] / span_s) .. ':'
            local kind = redis.call('TYPE', marks_now .. set).ok
            if kind ~= 'set' and kind ~= 'none' then  -- written by somebody else: no answer may fail by it for ever
                redis.call('DEL', marks_now .. set)
            end
            redis.call('SADD', marks_now .. set, number)
            if redis.call('TTL', marks_now .. set) < 0 then
                redis.call('EXPIRE', marks_now .. set, marks_kept_s + span_s)
            end
        end
        first = first + 4
    end
    if tell ~= '' then
        redis.call('PUBLISH', tell, '')
    end
end
