-- Pauses or resumes a schedule, or changes its line until the next deploy.
--
-- KEYS  1 jobd:periodic · 2 hash of the schedule
-- ARGV  1 id · 2 'pause', 'resume', 'change' or 'reset' (to the line of its version) · 3 when it is
--       due next (s) · 4 the changed line (JSON) · 5 what was read of its line, as in the hash
-- Returns  1; 0 if there is no such schedule, or it is that already; -1 if its line has changed
--       meanwhile, and 'resume' or 'change' depend on what was read of it.
local known = redis.call('HMGET', KEYS[2], 'paused', 'own', 'entry')
if not known[3] or not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local time, act = redis.call('TIME'), ARGV[2]
if (act == 'resume' or act == 'change') and (known[2] or '') ~= ARGV[5] then return -1 end
if act == 'pause' then
  if known[1] then return 0 end
  redis.call('HSET', KEYS[2], 'paused', time[1])
  redis.call('ZADD', KEYS[1], '+inf', ARGV[1])
  return 1
elseif act == 'resume' then
  if not known[1] then return 0 end
  redis.call('HDEL', KEYS[2], 'paused')
  known[1] = false
elseif act == 'change' then
  redis.call('HSET', KEYS[2], 'own', ARGV[4])
else
  if not known[2] then return 0 end
  redis.call('HDEL', KEYS[2], 'own')
end
redis.call('ZADD', KEYS[1], known[1] and '+inf' or ARGV[3], ARGV[1])
return 1
