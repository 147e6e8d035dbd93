-- Takes an owner that leaves off the list, if it holds nothing.
--
-- KEYS  1 owners · 2 in-flight hash · 3 its queues · 4… its claim lists
-- ARGV  1 identity
-- Returns  1, or 0 when something is left: then the owner stays listed, for a keeper to recover.
for i = 4, #KEYS do
  if redis.call('LLEN', KEYS[i]) > 0 then return 0 end
end
if redis.call('HLEN', KEYS[2]) > 0 then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[3])
return 1
