-- Prelude of the scripts that handle leases: the clock that measures leases, in seconds.
--
-- It counts the time during which the server could be reached. Every call adds the time since the
-- last call by the server's clock, at most a sixth of a lease: keepers call at that interval, so
-- during a longer gap none of them could reach the server (it was down, frozen, replaced by another
-- one, or its clock was set), and no owner could renew its lease. Such a gap expires no lease, and a
-- clock that is set back extends none.
--
-- The clock exists only while there are owners. It starts with a call that finds a lease, so that
-- the first lease to expire has had its full length.
--
-- clock  key of the clock: a hash of `reachable` (this clock) and `seen` (the server's, at the call)
-- owners  key of the owners, with the ends of their leases
-- lease  length of a lease (s)
-- Returns  the time on this clock; the server's time if there is no clock.
--
-- PERSIST changes nothing. It is the first write because it is allowed when memory is full, and
-- after a script's first write the rest of it is, too: a full server must not cost leases.
local function lease_clock(clock, owners, lease)
  redis.call('PERSIST', clock)
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1000000
  local known = redis.call('HMGET', clock, 'reachable', 'seen')
  local reachable, seen = tonumber(known[1] or nil), tonumber(known[2] or nil)
  if reachable and seen then
    reachable = reachable + math.min(math.max(0, now - seen), lease / 6)
  else
    local first = redis.call('ZRANGEBYSCORE', owners, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not first[2] then return now end
    reachable = math.min(now, first[2] - lease)
  end
  redis.call('HSET', clock, 'reachable', reachable, 'seen', now)
  return reachable
end

-- Removes an owner from the list.
local function forget_owner(clock, owners, identity)
  redis.call('ZREM', owners, identity)
  if redis.call('EXISTS', owners) == 0 then redis.call('DEL', clock) end
end

