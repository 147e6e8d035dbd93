-- Publishes the stacks of a worker for the dashboard that requested them.
--
-- KEYS  1 hash of the stacks, which is replaced
-- ARGV  1 TTL (s) · 2… fields and values
-- Returns  1.
redis.call('UNLINK', KEYS[1]) -- first, so that the rest is allowed when memory is full
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return redis.call('EXPIRE', KEYS[1], ARGV[1])
