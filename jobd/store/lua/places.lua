-- Prelude of the scripts that move several jobs: one whose queue cannot take it must not keep the
-- others from moving. Somebody may have made a key of another type where a list should be.

-- Whether *key* is of that type, or not there yet.
local function fits(key, kind)
  local type = redis.call('TYPE', key).ok
  return type == kind or type == 'none'
end

-- Puts a job back at the head of its queue; where that is no list, into `schedule`, as due at once:
-- the scheduler finds out the same, and sets the job aside with the reason. Returns whether either
-- has taken it.
local function put_back(list, schedule, payload)
  if fits(list, 'list') then
    redis.call('RPUSH', list, payload)
  elseif fits(schedule, 'zset') then
    redis.call('ZADD', schedule, redis.call('TIME')[1], payload)
  else
    return false
  end
  return true
end

