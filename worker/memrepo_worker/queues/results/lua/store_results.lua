-- KEYS: one record per result. ARGV: seconds to keep, what the sets of marks are called, seconds that each spans,
-- seconds that they are kept, then per key value, reply channel ('' = none), set and number of its mark ('' = none).
store_results(1, 5, ARGV[1], ARGV[2], ARGV[3], ARGV[4])
return 1
