-- Moves jobs from one queue to the tail of another, each by its bytes.
--
-- KEYS  1 queue list · 2 the other one · 3 queues
-- ARGV  1 name of the other queue · 2 a text that is in no queue · then for each job, the next to run
--       first: its last known place (see find_queued.lua) · its payload · its new payload, which names
--       the other queue
-- Returns  as unqueue.lua.
redis.call('LLEN', KEYS[2]) -- fail on a key of another type before anything is changed
redis.call('PERSIST', KEYS[1])
local root, result, moved = root_of(KEYS[3], 'queues'), {0, 0}, {}
for i = 3, #ARGV, 3 do
  if work > WORK then break end
  local payload = ARGV[i + 1]
  local place = find_queued(KEYS[1], tonumber(ARGV[i]), payload)
  result[2] = result[2] + 1
  if place then
    redis.call('LPUSH', KEYS[2], ARGV[i + 2])
    mark_queued(KEYS[1], place, payload, ARGV[2])
    moved[#moved + 1] = ARGV[i + 2]
  else
    result[#result + 1] = result[2]
  end
end
remove_marked(KEYS[1], ARGV[2])
for _, payload in ipairs(moved) do moved_on(root, payload) end
if marked > 0 then redis.call('SADD', KEYS[3], ARGV[1]) end
result[1] = marked
return result
