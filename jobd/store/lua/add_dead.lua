-- Adds payloads that are in no set to the dead set; without payloads it only trims the set.
--
-- KEYS  1 dead
-- ARGV  1 now (s) · 2 oldest death to keep (s) · 3 size of the set, which keeps one less; 0 to
--       ignore both limits · 4… payloads
-- Returns  how many were not in the set before · how many the trim removed.
redis.call('PERSIST', KEYS[1])
local added, trimmed = 0, 0
for i = 4, #ARGV do
  added = added + redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
end
if tonumber(ARGV[3]) > 0 then
  trimmed = trim_dead(KEYS[1], ARGV[2], ARGV[3], added)
end
return {added, trimmed}
