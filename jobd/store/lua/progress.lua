-- Writes how far a worker's running jobs say that they have come.
--
-- KEYS  1 progress of the worker · 2 its in-flight hash
-- ARGV  1 TTL (s) · 2 how many tags follow, of jobs that have ended · those tags · tag and value of
--       each job that has reported
-- Returns  how many jobs were written. One that is not in flight for this worker any more is not: it
--       may be running elsewhere.
local first = 3 + ARGV[2]
for i = 3, first - 1 do redis.call('HDEL', KEYS[1], ARGV[i]) end
local written = 0
for i = first, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    written = written + 1
  else
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return written
