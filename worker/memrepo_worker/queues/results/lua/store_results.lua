-- KEYS: one record per result. ARGV: seconds to keep, what the sets of marks are called, seconds that each spans,
-- seconds that they are kept, a channel that is told ('' = none), then per key value, reply channel ('' = none), set and number of its mark ('' = none).
store_results(1, 6, ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
return 1
