-- Ends all blocks of a batch, for a person: their producers have died, or the batch is cancelled.
--
-- KEYS  1 queues · 2 jobd:batches:open · 3 jobd:batch:ID
-- ARGV  1 id · 2 'close', or 'cancel': nothing can be added any more
-- Returns  how much has changed, and how many blocks were open; -1 if there is no such batch.
-- What their producers still push is refused.
local root = root_of(KEYS[1], 'queues')
local key = batch_at(root, ARGV[1])
if not key then return {-1, 0} end
redis.call('PERSIST', KEYS[3]) -- as in lease_clock.lua
local closed, changed = 0, 0
for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
  if string.sub(field, 1, 6) == 'block:' then
    closed = closed + redis.call('HDEL', KEYS[3], field)
  end
end
redis.call('HSET', KEYS[3], 'open', 0)
redis.call('HDEL', KEYS[3], 'abandoned_at')
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[2] == 'cancel' and redis.call('HEXISTS', KEYS[3], 'success_at') == 0 then
  changed = redis.call('HSETNX', KEYS[3], 'cancelled_at', server_time())
end
batch_sum(key, 'moves', 0)
settled(root)
return {closed + changed, closed}
