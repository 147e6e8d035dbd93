-- Notes that something was deployed, at most once a minute for each label.
--
-- KEYS  1 deploys of the day · 2 lock of the label
-- ARGV  1 time (ISO 8601, to the minute) · 2 label · 3 how long deploys are kept (s)
-- Returns  1, or 0 when it was noted within the last minute.
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'EX', 60) then return 0 end
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
