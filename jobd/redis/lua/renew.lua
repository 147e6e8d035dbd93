-- Renews the leases of owners that are alive. Only an owner that still has one is renewed: what
-- has been recovered must register again, so that it learns of its loss.
--
-- KEYS  1 owners · 2 lease clock (see lease_clock.lua)
-- ARGV  1 length of the lease (s) · 2… identities
-- Returns  the identities that have no lease.
if redis.call('EXISTS', KEYS[1]) == 0 then return {unpack(ARGV, 2)} end
local till = lease_clock(KEYS[2], KEYS[1], ARGV[1]) + ARGV[1]
local lost = {}
for i = 2, #ARGV do
  local lease = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if lease and tonumber(lease) > 0 then
    redis.call('ZADD', KEYS[1], till, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
