redis.call('DEL', KEYS[1])  -- first, so that a full server takes the rest: workers make room there
redis.call('SET', KEYS[1], 1, 'PX', 1000)
redis.call('PUBLISH', KEYS[1], '')
return redis.call('DEL', KEYS[1])
