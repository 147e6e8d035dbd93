-- Lists the running jobs of a worker for dashboards, under the keys of new and old versions of
-- Sidekiq. Only changes since the last call are sent, so that each job is sent once.
--
-- KEYS  1 IDENTITY:work · 2 IDENTITY:workers
-- ARGV  1 TTL (s) · 2 '1' to start again with empty lists, else '0' · 3 how many threads have become
--       idle, then their names · then for each job that has started: its thread · its entry
-- Returns  the length of the shorter of the two lists. If the worker expects another one, the lists
--       have been lost (the server was down for longer than the TTL, or emptied).
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
