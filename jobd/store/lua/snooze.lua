-- Moves a job that has not failed from in flight to the schedule, or behind the jobs in its queue.
--
-- KEYS  1 in-flight hash · 2 schedule · 3 queues · 4 queue list
-- ARGV  1 tag · 2 new payload · 3 when it is due (s), '' for now · 4 name of the queue
-- Returns  1, or 0 if the job was no longer in flight (then nothing is changed); 2 if it has ended as
--       cancelled instead (see cancelling.lua).
-- The job is written to its new place before it is removed from the old one: a script that fails
-- half way is not rolled back. PERSIST changes nothing; it allows the writes after it when memory is
-- full.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('PERSIST', KEYS[1])
if cancelled(KEYS[1], ARGV[1], ARGV[2]) then return 2 end
if ARGV[3] == '' then
  redis.call('LPUSH', KEYS[4], ARGV[2])
  redis.call('SADD', KEYS[3], ARGV[4])
else
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
end
redis.call('HDEL', KEYS[1], ARGV[1])
moved_on(root_of(KEYS[2], 'schedule'), ARGV[2], ARGV[3] ~= '' and 'schedule' or nil, ARGV[3])
return 1
