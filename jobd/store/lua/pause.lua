-- Pauses or resumes a queue.
--
-- KEYS  1 paused queues
-- ARGV  1 name · 2 'SADD' or 'SREM'
-- Returns  1, or 0 if nothing changed.
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua
return redis.call(ARGV[2], KEYS[1], ARGV[1])
