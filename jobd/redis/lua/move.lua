-- Moves jobs from one queue to the tail of another, each by its bytes.
--
-- KEYS  1 queue list · 2 the other one · 3 queues
-- ARGV  1 name of the other queue · 2 a text that is in no queue · 3 'LEFT' if the places count
--       from the head (the newest job), 'RIGHT' if from the tail · then for each job, in the order
--       from that end: its place, from 0, as far as known · its payload
-- Returns  as unqueue.lua.
--
-- They are found and marked as in unqueue.lua.
redis.call('LLEN', KEYS[2]) -- a key of another type is found out before anything is changed
redis.call('PERSIST', KEYS[1])
local head = ARGV[3] == 'LEFT'
local shift, moved, handled = 0, 0, 0
for i = 4, #ARGV, 2 do
  if spent then break end
  handled = handled + 1
  local payload = ARGV[i + 1]
  local place = find_queued(KEYS[1], head, math.max(0, ARGV[i] + shift), payload)
  if place then
    shift = place - ARGV[i]
    redis.call('LPUSH', KEYS[2], payload)
    redis.call('LSET', KEYS[1], head and place or -1 - place, ARGV[2])
    moved = moved + 1
  end
end
if moved > 0 then
  redis.call('LREM', KEYS[1], head and moved or -moved, ARGV[2])
  redis.call('SADD', KEYS[3], ARGV[1])
end
return {moved, handled}
