-- Records a deploy: only one per minute, and a label only once within 60 seconds.
--
-- KEYS  1 deploys of the day · 2 lock of the label
-- ARGV  1 time (ISO 8601, to the minute) · 2 label · 3 how long deploys are kept (s)
-- Returns  1, or 0 if this label, or another one in this minute, has already been recorded.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
-- The lock is set only for a recorded label: one that came second can be recorded a minute later.
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', 60)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
