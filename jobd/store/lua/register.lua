-- Registers an owner of in-flight jobs, with a lease.
--
-- KEYS  1 owners · 2 lease clock (see lease_clock.lua) · 3 names of the queues that the owner waits
--       on
-- ARGV  1 identity · 2 length of the lease (s) · 3… names of queues
-- Returns  1, or 0 while a keeper is still recovering this owner's jobs: try again later.
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if lease and tonumber(lease) <= 0 then return 0 end
redis.call('ZADD', KEYS[1], lease_clock(KEYS[2], KEYS[1], ARGV[2]) + ARGV[2], ARGV[1])
lease_clock(KEYS[2], KEYS[1], ARGV[2])  -- it starts with the first owner
redis.call('SADD', KEYS[3], unpack(ARGV, 3))
return 1
