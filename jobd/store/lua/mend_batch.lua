-- Corrects what is known of members of a batch.
--
-- KEYS  1 queues · 2 jobd:batch:ID
-- ARGV  1 id · 2 how often the batch had changed (its field `moves`) when that was found out, '' if it
--       does not matter · then for each member: its number · its state
-- Returns  how many members were given; -1 if there is no such batch, or it has changed since then.
local root = root_of(KEYS[1], 'queues')
local key = batch_at(root, ARGV[1])
if not key then return -1 end
if ARGV[2] ~= '' and (redis.call('HGET', key, 'moves') or '0') ~= ARGV[2] then return -1 end
redis.call('PERSIST', KEYS[2]) -- as in lease_clock.lua
for i = 3, #ARGV, 2 do member_changed(key, ARGV[i], ARGV[i + 1]) end
batch_sum(key, 'moves', 0)
settled(root)
return (#ARGV - 2) / 2
