-- Permanently deletes the jobs that one deletion has put into the trash.
--
-- KEYS  1 trash · 2 description of the deletion · 3 its jobs · 4 jobd:departed · 5 where jobs go that
--       are not in the trash, and on which something may still hang (see depart.lua)
-- ARGV  1 id
-- Returns  how many jobs were still there.
local kind = redis.call('TYPE', KEYS[3]).ok
local jobs = 0
if kind == 'list' then jobs = redis.call('LLEN', KEYS[3]) end
if kind == 'zset' then jobs = redis.call('ZCARD', KEYS[3]) end
local handled = redis.call('HGET', KEYS[4], KEYS[3])
redis.call('UNLINK', KEYS[2])
if handled and jobs > 0 then
  redis.call('HDEL', KEYS[4], KEYS[3])
  redis.call('RENAME', KEYS[3], KEYS[5])
  redis.call('PERSIST', KEYS[5])
  redis.call('HSET', KEYS[4], KEYS[5], 0)
else
  redis.call('UNLINK', KEYS[3])
end
redis.call('ZREM', KEYS[1], ARGV[1])
return jobs
