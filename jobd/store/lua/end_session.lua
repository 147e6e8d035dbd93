-- Records that a dashboard session has ended.
--
-- KEYS  1 ended sessions
-- ARGV  1 the session · 2 when its cookie expires (s since 1970) · 3 forget sessions whose cookies
--       expired before this · 4 TTL (s)
-- Returns  how many are recorded.
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua: signing out works on a full server
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return redis.call('ZCARD', KEYS[1])
