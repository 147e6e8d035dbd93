-- Moves the jobs of a queue that are next to run to the tail of another queue.
--
-- KEYS  1 queue list · 2 the other one · 3 queues
-- ARGV  1 name of the other queue · then for each job, the next to run first: its payload · its new
--       payload, which names the other queue
-- Returns  how many were moved; jobs that a worker has taken in the meantime are not.
redis.call('LLEN', KEYS[2]) -- fail on a key of another type before anything is changed
redis.call('PERSIST', KEYS[1])
local root, moved = root_of(KEYS[3], 'queues'), {}
for i = 2, #ARGV, 2 do
  if redis.call('LINDEX', KEYS[1], -1) == ARGV[i] then
    redis.call('LPUSH', KEYS[2], ARGV[i + 1])
    redis.call('RPOP', KEYS[1])
    moved[#moved + 1] = ARGV[i + 1]
  end
end
-- What is pushed for these, as the callback of a batch, goes to the tail of the queue.
for _, payload in ipairs(moved) do moved_on(root, payload) end
if #moved > 0 then redis.call('SADD', KEYS[3], ARGV[1]) end
return #moved
