-- Removes an exiting owner from the list, if it holds nothing.
--
-- KEYS  1 owners · 2 lease clock (see lease_clock.lua) · 3 in-flight hash · 4 its queues
--       5… its claim lists
-- ARGV  1 identity
-- Returns  1, or 0 if jobs are left: then the owner stays listed, for a keeper to recover.
for i = 5, #KEYS do
  if redis.call('LLEN', KEYS[i]) > 0 then return 0 end
end
if redis.call('HLEN', KEYS[3]) > 0 then return 0 end
forget_owner(KEYS[2], KEYS[1], ARGV[1])
redis.call('DEL', KEYS[4], (requests_of(KEYS[3])))
return 1
