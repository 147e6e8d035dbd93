-- Puts some of what was deleted back where it was.
--
-- KEYS  1 trash · 2 description of the deletion · 3 what it holds · 4 queue list, or the set
--       5 queues · 6 the set that the jobs went to; any if none
-- ARGV  1 id · 2 name of the queue, or '' for a set · 3 '1' if the jobs went to another set: what is
--       not there any more has run or been deleted meanwhile, and does not come back
--       4 how many at most
-- Returns  how many were restored · how many are left.
-- The jobs of a queue become the next ones to run, in their old order.
redis.call('PERSIST', KEYS[4])
local restored, left, most = 0, 0, tonumber(ARGV[4])
if ARGV[2] ~= '' then
  redis.call('LLEN', KEYS[4]) -- a key of another type is found out before anything is changed
  while restored < most and redis.call('LMOVE', KEYS[3], KEYS[4], 'LEFT', 'RIGHT') do
    restored = restored + 1
  end
  if restored > 0 then redis.call('SADD', KEYS[5], ARGV[2]) end
  left = redis.call('LLEN', KEYS[3])
else
  local found = redis.call('ZRANGE', KEYS[3], 0, most - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    if ARGV[3] == '' or redis.call('ZSCORE', KEYS[6], found[i]) then
      redis.call('ZADD', KEYS[4], 'NX', found[i + 1], found[i])
      if ARGV[3] ~= '' then redis.call('ZREM', KEYS[6], found[i]) end
      restored = restored + 1
    end
    redis.call('ZREM', KEYS[3], found[i])
  end
  left = redis.call('ZCARD', KEYS[3])
end
if left == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return {restored, left}
