-- Notes when a lock that has kept a job out is looked at again, or forgets it.
--
-- KEYS  1 jobd:contested · 2 the lock
-- ARGV  1 when (s), '' for never · 2 id of its holder · 3 when it was last seen in use, as it says
--       itself; '' for none
-- Returns  1; 0 if it is not forgotten, as it has changed: another job may be kept out by now.
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua: on a full server, too
if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[1], 'XX', ARGV[1], KEYS[2])
  return 1
end
if fits(KEYS[2], 'hash') then
  local lock = redis.call('HMGET', KEYS[2], 'jid', 'seen')
  if (lock[1] or '') ~= ARGV[2] or (lock[2] or '') ~= ARGV[3] then return 0 end
end
redis.call('ZREM', KEYS[1], KEYS[2])
return 1
