-- Notes that a session of the dashboard has ended.
--
-- KEYS  1 ended sessions
-- ARGV  1 the session · 2 when its cookie ends (s since 1970) · 3 the end of those that need not be
--       remembered any more · 4 TTL (s)
-- Returns  how many are remembered.
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua: on a full server one can log out
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return redis.call('ZCARD', KEYS[1])
