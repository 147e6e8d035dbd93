-- Deletes jobs from a queue, each identified by its bytes.
--
-- KEYS  1…3 trash (see trash.lua) · 4 queue list
-- ARGV  1…6 trash · 7 a text that is in no queue · then for each job, the next to run first: its
--       last known place (see find_queued.lua) · its payload
-- Returns  how many were deleted · how many were looked for, at least one (walking to each costs
--       time) · the positions among these, from 1, of those not found near their places.
redis.call('PERSIST', KEYS[4]) -- as in lease_clock.lua: a full server can be emptied
local root, result, deleted = root_of(KEYS[1], 'jobd:trash'), {0, 0}, {}
for i = 8, #ARGV, 2 do
  if work > WORK then break end
  local payload = ARGV[i + 1]
  local place = find_queued(KEYS[4], tonumber(ARGV[i]), payload)
  result[2] = result[2] + 1
  if place then
    if ARGV[1] ~= '' then redis.call('LPUSH', KEYS[3], payload) end
    mark_queued(KEYS[4], place, payload, ARGV[7])
    deleted[#deleted + 1] = payload
  else
    result[#result + 1] = result[2]
  end
end
remove_marked(KEYS[4], ARGV[7])
for _, payload in ipairs(deleted) do ended(root, payload, 'cancelled', '') end
put_in_trash(marked)
result[1] = marked
return result
