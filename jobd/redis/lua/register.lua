-- Enters an owner of in-flight jobs, with a lease.
--
-- KEYS  1 owners · 2 names of the queues that the owner waits on
-- ARGV  1 identity · 2 length of the lease (s) · 3… names of queues
-- Returns  1, or 0 while a keeper is still recovering what this owner held: try again later.
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if lease and tonumber(lease) <= 0 then return 0 end
redis.call('PERSIST', KEYS[1]) -- as in renew.lua
redis.call('ZADD', KEYS[1], redis.call('TIME')[1] + ARGV[2], ARGV[1])
redis.call('SADD', KEYS[2], unpack(ARGV, 3))
return 1
