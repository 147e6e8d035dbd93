-- Returns jobs from in flight to the head of their queues, byte for byte; those that are to be
-- cancelled end so (see cancelling.lua).
--
-- KEYS  1 in-flight hash · 2 stat:processed · 3 its day · 4 stat:failed · 5 its day · 6 schedule
--       (see places.lua) · 7… queue lists
-- ARGV  1 TTL of the day's counters (s), then for each job, the newest first: its tag · position
--       of its queue among the lists, from 1 · 1 if it had started (the interrupted execution is
--       counted, as in Sidekiq), else 0
-- Returns  how many were still in flight and are now back in their queues, or cancelled.
-- A job is written to its new place before it is removed from the old one: a script that fails half
-- way is not rolled back. PERSIST changes nothing; it allows the writes after it when memory is full.
redis.call('PERSIST', KEYS[1])
local returned, interrupted = 0, 0
for i = 2, #ARGV, 3 do
  local payload = redis.call('HGET', KEYS[1], ARGV[i])
  if payload and cancelled(KEYS[1], ARGV[i], payload) then
    returned = returned + 1
  elseif payload and put_back(KEYS[6 + tonumber(ARGV[i + 1])], KEYS[6], payload) then
    redis.call('HDEL', KEYS[1], ARGV[i])
    returned = returned + 1
    interrupted = interrupted + tonumber(ARGV[i + 2])
  end
end
count(2, interrupted, ARGV[1])
count(4, interrupted, ARGV[1])
return returned
