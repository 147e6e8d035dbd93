-- Names the owners that need a keeper: those whose lease has ended, and the condemned.
--
-- KEYS  1 owners · 2 lease clock (see lease_clock.lua)
-- ARGV  1 length of a lease (s) · 2 how many at most
-- Returns  identities, the longest expired first.
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local now = lease_clock(KEYS[2], KEYS[1], ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
