-- Counts a failed sign-in, or takes one back.
--
-- KEYS  1 the count
-- ARGV  1 1 or -1 · 2 TTL of the count (s), from the first failure
-- Returns  the count · its TTL (s).
-- EXPIRE changes nothing; it is allowed when memory is full, and then the rest of the script is, too:
-- a full server must not keep out the person who comes to empty it.
local left = redis.call('TTL', KEYS[1])
redis.call('EXPIRE', KEYS[1], left > 0 and left or ARGV[2])
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if left <= 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return {count, redis.call('TTL', KEYS[1])}
