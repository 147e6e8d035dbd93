-- Takes the lock of a job that a program has pushed without it, before the job starts.
--
-- KEYS  1 the lock · 2 jobd:contested · 3 jobd:departed
-- ARGV  1 id of the job · 2 how long it is held (s), or '' · 3 1 if it outlives the job, else 0
-- Returns  false if the job holds it now, else the id of the job that does.
if not fits(KEYS[1], 'hash') then return false end
local lock = redis.call('HMGET', KEYS[1], 'jid', 'stays')
if not lock[1] then
  hold(KEYS[1], ARGV[1], length(ARGV[2]), server_time(), ARGV[3] == '1')
  redis.call('HSETNX', KEYS[3], 'used', 1)
elseif lock[1] ~= ARGV[1] then
  if not lock[2] then redis.call('ZADD', KEYS[2], 'NX', server_time(), KEYS[1]) end
  return lock[1]
end
return false
