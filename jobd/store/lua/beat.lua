-- Writes a worker's heartbeat for dashboards, takes one remote signal for it, and reads the requests to
-- cancel its jobs.
--
-- KEYS  1 processes · 2 hash of the worker · 3 signals for it · 4 in-flight hash
-- ARGV  1 identity · 2 TTL of the hash (s) · 3… fields and values of the hash
-- Returns  a list of the oldest signal, empty if there is none · for each of its jobs in flight
--       that are to be cancelled, its tag and what the request says (see cancelling.lua).
redis.call('PERSIST', KEYS[2]) -- as in lease_clock.lua: a full server must not hide workers
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[2], ARGV[2])
return {redis.call('RPOP', KEYS[3], 1) or {}, to_cancel(KEYS[4])}
