-- Lists the jobs that a worker runs now, for dashboards, under the names that new and old Sidekiqs
-- read: what has changed since the last time, so that each job is sent once.
--
-- KEYS  1 IDENTITY:work · 2 IDENTITY:workers
-- ARGV  1 TTL (s) · 2 '1' to begin again with empty lists, else '0' · 3 how many threads run nothing
--       any more, then their names · then for each job that has begun: its thread · its entry
-- Returns  how many each of the two lists has, at least. If that is not what the worker expects, the
--       lists have been lost meanwhile (the server was away for longer than the TTL, or emptied).
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua
local ended = tonumber(ARGV[3])
local listed = math.huge
for _, key in ipairs({KEYS[1], KEYS[2]}) do
  if ARGV[2] == '1' then redis.call('UNLINK', key) end
  for i = 4, 3 + ended do redis.call('HDEL', key, ARGV[i]) end
  for i = 4 + ended, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
  redis.call('EXPIRE', key, ARGV[1])
  listed = math.min(listed, redis.call('HLEN', key))
end
return listed
