-- The place of a job in a queue, counted from its head (the newest job) or from its tail, or nil.
-- Where workers have taken a few jobs since somebody saw it, it is found nearby; only else is the
-- whole queue searched, and that once in a call of a script: `spent` says that it has been, and the
-- caller ends then. Put before scripts that act on jobs by their places.
local spent = false
local function find_queued(list, head, place, payload)
  if redis.call('LINDEX', list, head and place or -1 - place) == payload then return place end
  local room = 1000000
  for first = math.max(0, place - 100), place + 100, 10 do
    local last = first + 9
    local part = head and redis.call('LRANGE', list, first, last)
      or redis.call('LRANGE', list, -1 - last, -1 - first)
    for i, found in ipairs(part) do
      if found == payload then return first + (head and i - 1 or #part - i) end
      room = room - #found
    end
    if room < 0 then break end
  end
  spent = true
  local index = redis.call('LPOS', list, payload, 'RANK', head and 1 or -1)
  if not index then return nil end
  return head and index or redis.call('LLEN', list) - 1 - index
end

