-- Notes that the producer of a batch has been taken for dead, if it has not pushed since.
--
-- KEYS  1 queues · 2 jobd:batches:open · 3 jobd:batch:ID
-- ARGV  1 id · 2 now (s) · 3 when it must have pushed to be alive (s)
-- Returns  1 if that is new; 0 if it was noted before, is not so, or there is no such batch.
local pushed = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not pushed or tonumber(pushed) > tonumber(ARGV[3]) then return 0 end
if not batch_at(root_of(KEYS[1], 'queues'), ARGV[1]) then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 0
end
redis.call('PERSIST', KEYS[2]) -- as in lease_clock.lua
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1]) -- it is looked at again later
return redis.call('HSETNX', KEYS[3], 'abandoned_at', ARGV[2])
