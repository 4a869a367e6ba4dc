-- What a worker writes makes room in the end, so a server whose memory is full must take it: it refuses what adds only
-- to scripts that have not written yet, and removing what is not there counts.
redis.call('DEL', 'memrepo:none')
