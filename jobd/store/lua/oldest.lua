-- The sizes of some queues, and their oldest jobs.
--
-- KEYS  queue lists
-- ARGV  1 most bytes to read; the first queue is always read
-- Returns  for each queue that was read: its size · the payload of its oldest job, '' if there is
--       none; of a large one only the last of its times, as JSON. A key of another type counts as an
--       empty queue.
local LARGE = 16384

local room, found = tonumber(ARGV[1]), {}

local function times_of(payload)
  local times = {}
  for _, name in ipairs({'created_at', 'enqueued_at'}) do
    local _, last = string.find(payload, '"' .. name .. '":', 1, true)
    local number = last and string.match(string.sub(payload, last + 1, last + 32), '^[%d.eE+-]+')
    if number then times[#times + 1] = '"' .. name .. '":' .. number end
  end
  return '{' .. table.concat(times, ',') .. '}'
end

for _, queue in ipairs(KEYS) do
  if room <= 0 then break end
  local size = redis.pcall('LLEN', queue)
  local oldest = redis.pcall('LINDEX', queue, -1)
  if type(size) == 'table' then size, oldest = 0, false end
  oldest = oldest or ''
  room = room - #oldest - 1000 -- every command counts as work
  found[#found + 1] = size
  found[#found + 1] = #oldest > LARGE and times_of(oldest) or oldest
end
return found
