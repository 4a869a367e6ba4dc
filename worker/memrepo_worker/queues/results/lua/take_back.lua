-- KEYS: a record. ARGV: what it must still be. Removes it, as if nobody had begun with the task.
return redis.pcall('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0
