-- Moves a failed job from in flight to the retry set.
--
-- KEYS  1 in-flight hash · 2 retry · 3 stat:processed · 4 its day · 5 stat:failed · 6 its day
-- ARGV  1 TTL of the day's counters (s) · 2 tag · 3 new payload · 4 time of the next attempt (s)
-- Returns  1, or 0 if the job was no longer in flight (then nothing is changed); 2 if it has ended as
--       cancelled instead (see cancelling.lua).
-- The job is written to its new place before it is removed from the old one: a script that fails
-- half way (say, because the target key has another type) is not rolled back. PERSIST changes
-- nothing; it allows the writes after it when memory is full.
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('PERSIST', KEYS[1])
if cancelled(KEYS[1], ARGV[2], ARGV[3]) then return 2 end
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
redis.call('HDEL', KEYS[1], ARGV[2])
moved_on(root_of(KEYS[2], 'retry'), ARGV[3], 'retry', ARGV[4])
count(3, 1, ARGV[1])
count(5, 1, ARGV[1])
return 1
