-- Notes that something was deployed: the first in its minute, and a label once within 60 seconds.
--
-- KEYS  1 deploys of the day · 2 lock of the label
-- ARGV  1 time (ISO 8601, to the minute) · 2 label · 3 how long deploys are kept (s)
-- Returns  1, or 0 when the label has been noted already, or another one in this minute.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
-- Only what is noted locks: a label that came second has the next minute.
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', 60)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
