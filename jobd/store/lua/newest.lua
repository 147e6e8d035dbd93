-- The sizes of some queues, and how many jobs have been pushed since the last call.
--
-- KEYS  queue lists
-- ARGV  1 most bytes to read; the first queue is always read · 2 how many places to search, from the
--       head · 3 size of the largest payload to return · then for each queue the payload that was its
--       newest, '' if none is known
-- Returns  for each queue that was read: its size · the place of that job from the head, -1 if it was
--       not found · the payload of its newest job, '' if there is none or it is larger. A key of
--       another type counts as an empty queue.
local room, found = tonumber(ARGV[1]), {}
for i, queue in ipairs(KEYS) do
  if room <= 0 then break end
  local size, place, newest = redis.pcall('LLEN', queue), false, ''
  if type(size) == 'table' then size = 0 end
  if size > 0 then
    local known = ARGV[3 + i]
    place = known ~= '' and redis.call('LPOS', queue, known, 'MAXLEN', ARGV[2])
    newest = redis.call('LINDEX', queue, 0)
    -- Every command and every comparison counts as work.
    room = room - #newest - 20 * math.min(size, place or known ~= '' and tonumber(ARGV[2]) or 0)
    if #newest > tonumber(ARGV[3]) then newest = '' end
  end
  room = room - 1000
  found[#found + 1] = size
  found[#found + 1] = place or -1
  found[#found + 1] = newest
end
return found
