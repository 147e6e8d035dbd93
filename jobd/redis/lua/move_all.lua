-- Moves the jobs of a queue that are next to run to another queue, behind those that are there.
--
-- KEYS  1 queue list · 2 the other one · 3 queues
-- ARGV  1 name of the other queue · 2 how many at most; of large ones fewer, about 4 MB
-- Returns  how many were moved · how many are left.
redis.call('LLEN', KEYS[2]) -- a key of another type is found out before anything is changed
redis.call('PERSIST', KEYS[1])
local moved, most, room = 0, tonumber(ARGV[2]), 4194304
while moved < most and room > 0 do
  local job = redis.call('LMOVE', KEYS[1], KEYS[2], 'RIGHT', 'LEFT')
  if not job then break end
  moved, room = moved + 1, room - #job
end
if moved > 0 then redis.call('SADD', KEYS[3], ARGV[1]) end
return {moved, redis.call('LLEN', KEYS[1])}
