-- Changes the time of entries of a sorted set.
--
-- KEYS  1 the set
-- ARGV  1 the new time (s) · 2… members
-- Returns  how many were still in the set.
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua
local found = 0
local set = string.match(KEYS[1], 'schedule$') or string.match(KEYS[1], 'retry$') or 'dead'
local root = root_of(KEYS[1], set)
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], 'XX', ARGV[1], ARGV[i])
    moved_on(root, ARGV[i], set, ARGV[1])
    found = found + 1
  end
end
return found
