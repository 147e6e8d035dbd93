-- Ends what hangs on jobs that have been cleared, some at a time.
--
-- KEYS  1 jobd:departed: the keys of those jobs, and how many of each have been handled · 2 the key
-- ARGV  1 how many at most; fewer large ones, about 4 MB
-- Returns  how many are left; then, of a key of their own, none is kept.
-- They are read from the end at which a restoration from the trash does not begin; the number counts
-- from that end, and a job that was restored first has taken its lock again.
local root, room, most = root_of(KEYS[1], 'jobd:departed'), 4194304, tonumber(ARGV[1])
local done = tonumber(redis.call('HGET', KEYS[1], KEYS[2]) or nil)
if not done then return 0 end
local kind = redis.call('TYPE', KEYS[2]).ok
local size = kind == 'list' and redis.call('LLEN', KEYS[2]) or kind == 'zset' and redis.call('ZCARD', KEYS[2]) or 0
while done < size and most > 0 and room > 0 do
  local job
  if kind == 'list' then
    job = redis.call('LINDEX', KEYS[2], -1 - done)
  else
    job = redis.call('ZREVRANGE', KEYS[2], done, done)[1]
  end
  ended(root, job, 'cancelled', '')
  done, most, room = done + 1, most - 1, room - #job
end
if done < size then
  redis.call('HSET', KEYS[1], KEYS[2], done)
  return size - done
end
redis.call('HDEL', KEYS[1], KEYS[2])
if string.sub(KEYS[2], 1, #KEYS[1] + 1) == KEYS[1] .. ':' then redis.call('UNLINK', KEYS[2]) end
return 0
