-- The place of a job in a queue, counted from its head (the newest job) or from its tail, or nil.
-- Where workers have taken a few jobs since somebody saw it, it is found nearby; only else is the
-- whole queue searched. Put before scripts that act on jobs by their places.
local function find_queued(list, head, place, payload)
  if redis.call('LINDEX', list, head and place or -1 - place) == payload then return place end
  local near = math.min(100, math.floor(1000000 / (#payload + 1)))
  local first, last = math.max(0, place - near), place + near
  local found = head and redis.call('LRANGE', list, first, last)
    or redis.call('LRANGE', list, -1 - last, -1 - first)
  for i = 1, #found do
    if found[i] == payload then return first + (head and i - 1 or #found - i) end
  end
  local index = redis.call('LPOS', list, payload, 'RANK', head and 1 or -1)
  if not index then return nil end
  return head and index or redis.call('LLEN', list) - 1 - index
end

