-- Lets a batch expire whose dead members are no longer in the dead set.
--
-- KEYS  1 queues · 2 jobd:batch:ID
-- ARGV  1 id · 2 how often the batch had changed (its field `moves`) when that was found out
-- Returns  1; 0 if there is no such batch, or it has changed since then.
local key = batch_at(root_of(KEYS[1], 'queues'), ARGV[1])
if not key then return 0 end
local known = redis.call('HMGET', KEYS[2], 'moves', 'ended_at')
if (known[1] or '0') ~= ARGV[2] or not known[2] then return 0 end
redis.call('PERSIST', KEYS[2]) -- as in lease_clock.lua; its lifetime is set below
redis.call('HSET', KEYS[2], 'expired_in', ARGV[2]) -- once is enough, until it changes again
expire_batch(key, LINGER)
return 1
