-- Prelude of the scripts that know of requests to cancel running jobs.
--
-- Beside the in-flight hash of an owner, `jobd:cancels:IDENTITY` has the tags of those of its jobs that
-- are to be cancelled. A tag is never used again, so a request that comes too late cancels no other
-- job. It says when that was requested, or `force`: the worker is replaced if the job does not end. It is
-- removed when its job goes on to another place, which it then does not reach, or with the next
-- heartbeat, or with its owner.

-- The requests for the jobs of an in-flight hash, and the prefix of all keys.
local function requests_of(inflight)
  local root, owner = string.match(inflight, '^(.-)jobd:inflight:(.*)$')
  return root .. 'jobd:cancels:' .. owner, root
end

-- The server's date, UTC.
local function today()
  local days = math.floor(redis.call('TIME')[1] / 86400) + 719468 -- since March of the year 0
  local era = math.floor(days / 146097)
  local day = days - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524)
    - math.floor(day / 146096)) / 365)
  day = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * day + 2) / 153) -- from March
  day = day - math.floor((153 * month + 2) / 5) + 1
  year, month = year + era * 400, month < 10 and month + 3 or month - 9
  return string.format('%04d-%02d-%02d', month <= 2 and year + 1 or year, month, day)
end

-- Ends a job in flight, whose payload is *raw*, as cancelled, if that has been requested; returns
-- whether it has.
local function cancelled(inflight, tag, raw)
  local requests, root = requests_of(inflight)
  if redis.pcall('HDEL', requests, tag) ~= 1 then return false end
  redis.call('HDEL', inflight, tag)
  ended(root, raw, 'cancelled', '')
  local total = root .. 'jobd:stat:cancelled'
  redis.call('INCRBY', total, 1)
  redis.call('INCRBY', total .. ':' .. today(), 1)
  redis.call('EXPIRE', total .. ':' .. today(), 157680000)
  return true
end

-- The jobs in flight that are to be cancelled: for each its tag · what the request says.
local function to_cancel(inflight)
  local requests, live = requests_of(inflight), {}
  local found = redis.pcall('HGETALL', requests)
  for i = 1, #found, 2 do
    local tag = found[i]
    if redis.call('HEXISTS', inflight, tag) == 1 then
      live[#live + 1], live[#live + 2] = tag, found[i + 1]
    else
      redis.call('HDEL', requests, tag)
    end
  end
  return live
end
