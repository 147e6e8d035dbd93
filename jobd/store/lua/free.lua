-- Releases a lock whose holder is nowhere: somebody has deleted it by hand, or a program that knows no
-- locks has ended it.
--
-- KEYS  1 queues · 2 the lock · 3 jobd:contested
-- ARGV  1 id of the holder · 2 when the lock was last seen in use, as it says itself: a job that has
--       moved since then may have been missed
-- Returns  1 if it was released, 0 if it has changed, or outlives its job.
if not fits(KEYS[2], 'hash') then return 0 end
redis.call('PERSIST', KEYS[3]) -- as in lease_clock.lua: the rest is allowed on a full server
local lock = redis.call('HMGET', KEYS[2], 'jid', 'seen', 'stays')
if lock[1] ~= ARGV[1] or lock[2] ~= ARGV[2] or lock[3] then return 0 end
release(root_of(KEYS[1], 'queues'), KEYS[2], ARGV[1])
return 1
