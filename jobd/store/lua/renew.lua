-- Renews the leases of owners that are alive, and names those to recover. Only an existing lease is
-- renewed: an owner that has been recovered must register again, so that it learns of its loss.
--
-- KEYS  1 owners · 2 lease clock (see lease_clock.lua)
-- ARGV  1 length of a lease (s) · 2 how many owners to name at most, 0 for none
--       3… identities of owners that are alive
-- Returns  {those of them that have no lease}, {owners whose lease has expired, the longest first, then
--       those that are condemned}.
local now = lease_clock(KEYS[2], KEYS[1], ARGV[1])
local lost = {}
for i = 3, #ARGV do
  local lease = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if lease and tonumber(lease) > 0 then
    redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
if ARGV[2] == '0' then return {lost, {}} end
local named = redis.call('ZRANGEBYSCORE', KEYS[1], '(0', now, 'LIMIT', 0, ARGV[2])
local condemned = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', 0, 'LIMIT', 0, ARGV[2] - #named)
for _, owner in ipairs(condemned) do named[#named + 1] = owner end
return {lost, named}
