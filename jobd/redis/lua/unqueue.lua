-- Deletes jobs from a queue, each by its bytes.
--
-- KEYS  1…3 trash (see trash.lua) · 4 queue list
-- ARGV  1…6 trash · 7 a text that is in no queue · 8 'LEFT' if the places count from the head (the
--       newest job), 'RIGHT' if from the tail · then for each job, in the order from that end: its
--       place, from 0, as far as known · its payload
-- Returns  how many were still in the queue.
--
-- Where a job is in its place, nothing is searched for. If workers have taken jobs meanwhile, it is
-- a little nearer to the tail; one search says by how much all places have moved. What is found is
-- marked, and all marks are removed together, from the end that is nearer to them; the script ends
-- before anybody could see one.
local NEAR = 500
local head = ARGV[8] == 'LEFT'
redis.call('PERSIST', KEYS[4]) -- as in renew.lua: a full server can be emptied
local length, moved, found, last = redis.call('LLEN', KEYS[4]), 0, 0, 0

-- The index of a payload, first looked for around where it should be.
local function search(index, payload)
  local from = math.max(-length, index - NEAR)
  if index >= 0 then from = math.max(0, from) end
  local to = index + NEAR
  if index < 0 then to = math.min(-1, to) end
  for i, other in ipairs(redis.call('LRANGE', KEYS[4], from, to)) do
    if other == payload then return from + i - 1 end
  end
  return redis.call('LPOS', KEYS[4], payload, 'RANK', head and 1 or -1)
end

for i = 9, #ARGV, 2 do
  local place, payload = ARGV[i] + moved, ARGV[i + 1]
  local index = head and place or -1 - place
  if redis.call('LINDEX', KEYS[4], index) ~= payload then
    index = search(index, payload)
    if index and (index >= 0) ~= head then index = head and index + length or index - length end
    if index then moved = (head and index or -1 - index) - ARGV[i] end
  end
  if index then
    if ARGV[1] ~= '' then redis.call(head and 'RPUSH' or 'LPUSH', KEYS[3], payload) end
    redis.call('LSET', KEYS[4], index, ARGV[7])
    found, last = found + 1, head and index or -1 - index
  end
end
if found > 0 then
  local near = last < length / 2
  redis.call('LREM', KEYS[4], near == head and found or -found, ARGV[7])
end
put_in_trash(found)
return found
