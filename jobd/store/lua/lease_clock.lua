-- Prelude of the scripts that deal with leases: the clock by which leases are measured, in seconds.
--
-- It counts the time in which the server could be reached. Every call adds what the server's clock
-- has gone forward since the call before, at most a sixth of a lease: keepers call as often, so in
-- a longer time none of them could reach the server (it was away, frozen, replaced by another one,
-- or its clock was set), and no owner could renew its lease. That time ends no lease, and a clock
-- that is set back makes none longer.
--
-- Without owners there is no clock: it goes with the last of them. It begins with a call that finds
-- a lease, so that the lease that ends first is a whole one.
--
-- clock  key of the clock: a hash of `reachable` (this clock) and `seen` (the server's, at the call)
-- owners  key of the owners, with the ends of their leases
-- lease  length of a lease (s)
-- Returns  what it says now; the server's time where there is none.
--
-- PERSIST changes nothing. It is the first write because it is allowed when memory is full, and
-- after a script's first write the rest of it is as well: a full server must not cost leases.
local function lease_clock(clock, owners, lease)
  redis.call('PERSIST', clock)
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1000000
  local known = redis.call('HMGET', clock, 'reachable', 'seen')
  local reachable
  if known[1] and known[2] then
    reachable = known[1] + math.min(math.max(0, now - known[2]), lease / 6)
  else
    local first = redis.call('ZRANGEBYSCORE', owners, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not first[2] then return now end
    reachable = math.min(now, first[2] - lease)
  end
  redis.call('HSET', clock, 'reachable', reachable, 'seen', now)
  return reachable
end

-- Takes an owner off the list.
local function forget_owner(clock, owners, identity)
  redis.call('ZREM', owners, identity)
  if redis.call('EXISTS', owners) == 0 then redis.call('DEL', clock) end
end

