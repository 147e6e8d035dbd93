-- Ends jobs that succeeded.
--
-- KEYS  1 in-flight hash · 2 stat:processed · 3 stat:processed:DAY
-- ARGV  1 TTL of the day's counter (s) · 2… tags
-- Returns  how many were still in flight; the others belong to another owner by now, and are neither
--       changed nor counted.
local removed = 0
for first = 2, #ARGV, 1000 do
  removed = removed + redis.call('HDEL', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
count(2, removed, ARGV[1])
return removed
