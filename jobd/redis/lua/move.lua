-- Moves jobs from one queue to the tail of another, each by its bytes.
--
-- KEYS  1 queue list · 2 the other one · 3 queues
-- ARGV  1 name of the other queue · 2 'LEFT' to search from the head, 'RIGHT' from the tail
--       3… payloads
-- Returns  how many were still in the queue.
redis.call('LLEN', KEYS[2]) -- a key of another type is found out before anything is changed
redis.call('PERSIST', KEYS[1])
local moved = 0
for i = 3, #ARGV do
  if redis.call('LREM', KEYS[1], ARGV[2] == 'LEFT' and 1 or -1, ARGV[i]) == 1 then
    redis.call('LPUSH', KEYS[2], ARGV[i])
    moved = moved + 1
  end
end
if moved > 0 then redis.call('SADD', KEYS[3], ARGV[1]) end
return moved
