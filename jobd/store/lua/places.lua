-- Prelude of the scripts that move several jobs (needs attachments.lua): a job whose queue cannot take it (its key has another
-- type) must not prevent the others from being moved.

-- Puts a job back at the head of its queue; if that is not a list, into `schedule`, due at once: the
-- scheduler then sets it aside with the reason. Returns whether either was possible.
local function put_back(list, schedule, payload)
  local root = root_of(schedule, 'schedule')
  if fits(list, 'list') then
    redis.call('RPUSH', list, payload)
    -- Somebody may have cleared the queue meanwhile: what is not among them is not searched.
    redis.pcall('SADD', root .. 'queues', string.sub(list, #root + 7))
  elseif fits(schedule, 'zset') then
    redis.call('ZADD', schedule, redis.call('TIME')[1], payload)
  else
    return false
  end
  moved_on(root, payload)
  return true
end

