-- Ends what hangs on jobs that have been cleared, some at a time.
--
-- KEYS  1 jobd:departed: the keys of those jobs, and how many of each have been handled · 2 the key
-- ARGV  1 how many at most; fewer large ones, about 4 MB
-- Returns  how many are left; then, of a key of their own, none is kept.
-- Those in the trash stay there. They are read from the end at which a restoration does not begin; the
-- number counts from that end, and a job that was restored first has taken its lock again. Those with a
-- key of their own are removed, which frees memory on a full server, as PERSIST allows the rest.
local CHUNK = 10

redis.call('PERSIST', KEYS[1])
local root, room, most = root_of(KEYS[1], 'jobd:departed'), 4194304, tonumber(ARGV[1])
local done = tonumber(redis.call('HGET', KEYS[1], KEYS[2]) or nil)
if not done then return 0 end
local own = string.sub(KEYS[2], 1, #KEYS[1] + 1) == KEYS[1] .. ':'
local kind = redis.call('TYPE', KEYS[2]).ok
local size = 0
if kind == 'list' then size = redis.call('LLEN', KEYS[2]) end
if kind == 'zset' then size = redis.call('ZCARD', KEYS[2]) end
while done < size and most > 0 and room > 0 do
  local part
  if kind == 'list' then
    part = redis.call('LRANGE', KEYS[2], -CHUNK - done, -1 - done)
  else
    part = redis.call('ZRANGE', KEYS[2], -CHUNK - done, -1 - done)
  end
  for _, job in ipairs(part) do
    ended(root, job, 'cancelled', '')
    room = room - #job
  end
  most = most - #part
  if not own then
    done = done + #part
  else
    size = size - #part
    if kind == 'list' then
      redis.call('LTRIM', KEYS[2], 0, -1 - #part)
    else
      redis.call('ZREMRANGEBYRANK', KEYS[2], -#part, -1)
    end
  end
end
if done < size then
  redis.call('HSET', KEYS[1], KEYS[2], done)
  return size - done
end
redis.call('HDEL', KEYS[1], KEYS[2])
if own then redis.call('UNLINK', KEYS[2]) end
return 0
