-- Writes what is wrong with a daemon, or that nothing is any more; or that its keeper lives.
--
-- KEYS  1 jobd:troubles, or jobd:keepers
-- ARGV  1 how long an entry counts (s) · 2 the daemon (HOST:PID) · 3 its tag · 4 since when (s) ·
--       5 the trouble, or the version; '' for nothing
-- Returns  1.
-- Entries of daemons that have died without a word are removed by those that write.
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua: a full server takes it, too
local time = redis.call('TIME')
local now = tonumber(time[1])
for _, other in ipairs(redis.call('HKEYS', KEYS[1])) do
  local read, entry = pcall(cjson.decode, redis.call('HGET', KEYS[1], other))
  local at = read and type(entry) == 'table' and tonumber(entry.at)
  if not at or at < now - ARGV[1] then redis.call('HDEL', KEYS[1], other) end
end
if ARGV[5] == '' then
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  local entry = {at = now, tag = ARGV[3], since = tonumber(ARGV[4]), text = ARGV[5]}
  redis.call('HSET', KEYS[1], ARGV[2], cjson.encode(entry))
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
