-- Deletes jobs from a queue, each by its bytes.
--
-- KEYS  1…3 trash (see trash.lua) · 4 queue list
-- ARGV  1…6 trash · 7 a text that is in no queue · 8 'LEFT' if the places count from the head (the
--       newest job), 'RIGHT' if from the tail · then for each job, in the order from that end: its
--       place, from 0, as far as known · its payload
-- Returns  how many were still in the queue · how many jobs it has looked for: fewer than all, and
--       one at least, if it had to search the whole queue for the last of them.
--
-- Where a job is in its place, nothing is searched for. If workers have taken jobs meanwhile, it is
-- a little nearer to the tail; one search says by how much all places have moved. What is found is
-- marked, and all marks are removed together, from the end that is nearer to them; the script ends
-- before anybody could see one.
local head = ARGV[8] == 'LEFT'
redis.call('PERSIST', KEYS[4]) -- as in lease_clock.lua: a full server can be emptied
local length, moved, found, last, handled = redis.call('LLEN', KEYS[4]), 0, 0, 0, 0
for i = 9, #ARGV, 2 do
  if spent then break end
  handled = handled + 1
  local payload = ARGV[i + 1]
  local place = find_queued(KEYS[4], head, math.max(0, ARGV[i] + moved), payload)
  if place then
    moved = place - ARGV[i]
    if ARGV[1] ~= '' then redis.call(head and 'RPUSH' or 'LPUSH', KEYS[3], payload) end
    redis.call('LSET', KEYS[4], head and place or -1 - place, ARGV[7])
    found, last = found + 1, place
  end
end
if found > 0 then
  local near = last < length / 2
  redis.call('LREM', KEYS[4], near == head and found or -found, ARGV[7])
end
put_in_trash(found)
return {found, handled}
