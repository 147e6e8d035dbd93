-- Permanently deletes the jobs that one deletion has put into the trash.
--
-- KEYS  1 trash · 2 description of the deletion · 3 its jobs
-- ARGV  1 id
-- Returns  how many jobs were still there.
local kind = redis.call('TYPE', KEYS[3]).ok
local jobs = 0
if kind == 'list' then jobs = redis.call('LLEN', KEYS[3]) end
if kind == 'zset' then jobs = redis.call('ZCARD', KEYS[3]) end
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('ZREM', KEYS[1], ARGV[1])
return jobs
