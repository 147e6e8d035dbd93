-- Prelude of the scripts that can be undone for a day.
--
-- All of them begin with the same
-- KEYS  1 trash · 2 description of this deletion · 3 its jobs
-- ARGV  1 id of the deletion, or '' to keep nothing · 2 how long to keep it (s) · 3 who · 4 what was
--       done · 5 where the jobs were: 'queue:NAME' or the name of a set · 6 name of the set that
--       they were moved to, or 'queue:NAME', or ''
-- They return -1, and change nothing, if ARGV 1 is the id of a deletion of another kind: clients
-- choose the ids.
redis.call('ZCARD', KEYS[1]) -- fail on a key of another type before anything is changed
if ARGV[1] ~= '' and redis.call('EXISTS', KEYS[2]) == 1 then
  local known = redis.call('HMGET', KEYS[2], 'who', 'action', 'origin', 'went_to')
  for i = 1, 4 do
    if known[i] ~= ARGV[i + 2] then return -1 end
  end
end

-- Records that *jobs* jobs have been put into KEYS[3].
local function put_in_trash(jobs)
  if ARGV[1] == '' or jobs == 0 then return end
  local now = tonumber(redis.call('TIME')[1])
  redis.call('HSET', KEYS[2], 'who', ARGV[3], 'action', ARGV[4], 'origin', ARGV[5],
    'went_to', ARGV[6], 'at', now)
  redis.call('HINCRBY', KEYS[2], 'jobs', jobs)
  redis.call('EXPIRE', KEYS[2], ARGV[2])
  redis.call('EXPIRE', KEYS[3], ARGV[2])
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
  -- Expired deletions are removed some at a time, since all clients wait.
  local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)
  if #ended > 0 then redis.call('ZREM', KEYS[1], unpack(ended)) end
end

