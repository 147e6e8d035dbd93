-- Moves entries of a sorted set to the dead set, byte for byte, and trims that set.
--
-- KEYS  1…3 trash (see trash.lua; it keeps the scores) · 4 the set · 5 dead
-- ARGV  1…6 trash · 7 now (s) · 8 oldest death to keep (s) · 9 size of the dead set, which keeps
--       one less, as Sidekiq does · 10… members
-- Returns  how many were still in the set.
-- A job is written to its new place before it is removed from the old one, as in bury.lua.
redis.call('PERSIST', KEYS[4])
local killed = 0
for i = 10, #ARGV do
  local score = redis.call('ZSCORE', KEYS[4], ARGV[i])
  if score then
    redis.call('ZADD', KEYS[5], ARGV[7], ARGV[i])
    if ARGV[1] ~= '' then redis.call('ZADD', KEYS[3], score, ARGV[i]) end
    redis.call('ZREM', KEYS[4], ARGV[i])
    ended(root_of(KEYS[5], 'dead'), ARGV[i], 'failed', '')
    killed = killed + 1
  end
end
put_in_trash(killed)
if killed > 0 then
  trim_dead(KEYS[5], ARGV[8], ARGV[9], killed)
end
return killed
