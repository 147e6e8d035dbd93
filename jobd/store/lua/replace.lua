-- Replaces an entry of a sorted set by a changed job in its queue.
--
-- KEYS  1…3 trash (see trash.lua) · 4 the set · 5 queues · 6 queue list
-- ARGV  1…6 trash · 7 name of the queue · 8 the entry as it is in the set · 9 payload to push
-- Returns  1; 0 if the entry was no longer in the set; {0, what keeps it out (see moves.lua)} if a
--       dead job cannot come back for that.
-- The description holds the pushed payload, by which restore.lua takes the job back. The job is
-- written to its new place before it is removed from the old one, as in promote.lua.
redis.call('PERSIST', KEYS[4])
local score = redis.call('ZSCORE', KEYS[4], ARGV[8])
if not score then return 0 end
local root = root_of(KEYS[1], 'jobd:trash')
local holder = KEYS[4] == root .. 'dead' and kept_out(root, ARGV[9])
if holder then return {0, holder} end
redis.call('SADD', KEYS[5], ARGV[7])
redis.call('LPUSH', KEYS[6], ARGV[9])
if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[3], score, ARGV[8])
  redis.call('HSET', KEYS[2], 'pushed', ARGV[9])
end
redis.call('ZREM', KEYS[4], ARGV[8])
if KEYS[4] == root .. 'dead' then came_back(root, ARGV[9]) else moved_on(root, ARGV[9]) end
put_in_trash(1)
return 1
