-- Deletes entries of a sorted set.
--
-- KEYS  1…3 trash (see trash.lua) · 4 the set
-- ARGV  1…6 trash · 7… members
-- Returns  how many were still in the set.
redis.call('PERSIST', KEYS[4]) -- as in lease_clock.lua: a full server can be emptied
local root, removed = root_of(KEYS[1], 'jobd:trash'), 0
local dead = root .. 'dead' -- those there have ended before
for i = 7, #ARGV do
  local score = redis.call('ZSCORE', KEYS[4], ARGV[i])
  if score then
    if ARGV[1] ~= '' then redis.call('ZADD', KEYS[3], score, ARGV[i]) end
    redis.call('ZREM', KEYS[4], ARGV[i])
    if KEYS[4] ~= dead then ended(root, ARGV[i], 'cancelled', '') end
    removed = removed + 1
  end
end
put_in_trash(removed)
return removed
