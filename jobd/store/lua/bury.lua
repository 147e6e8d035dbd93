-- Moves a job from in flight to the dead set, and trims that set by age and size.
--
-- KEYS  1 in-flight hash · 2 dead · 3 stat:processed · 4 its day · 5 stat:failed · 6 its day
-- ARGV  1 TTL of the day's counters (s) · 2 tag · 3 new payload · 4 now (s)
--       5 oldest death to keep (s) · 6 size of the set, which keeps one less, as Sidekiq does
--       7 how many executions to count: 1, or 0 for a malformed payload · 8 detail of its result
--       (JSON), or '' for what the payload says
-- Returns  1; 2 if it ended as cancelled instead (see cancelling.lua); 0 if the job was no longer in
--       flight (then nothing is changed).
-- The job is written to its new place before it is removed from the old one: a script that fails
-- half way (say, because the target key has another type) is not rolled back. PERSIST changes
-- nothing; it allows the writes after it when memory is full.
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('PERSIST', KEYS[1])
if cancelled(KEYS[1], ARGV[2], ARGV[3]) then return 2 end
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
redis.call('HDEL', KEYS[1], ARGV[2])
ended(root_of(KEYS[2], 'dead'), ARGV[3], 'failed', ARGV[8])
trim_dead(KEYS[2], ARGV[5], ARGV[6], 1)
count(3, tonumber(ARGV[7]), ARGV[1])
count(5, tonumber(ARGV[7]), ARGV[1])
return 1
