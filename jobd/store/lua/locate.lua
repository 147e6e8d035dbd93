-- Searches a queue for jobs by their bytes, one step, towards its tail: when workers take jobs in the
-- meantime, unsearched jobs move towards the tail, so none is missed.
--
-- KEYS  1 queue list
-- ARGV  1 the place, from the tail, before which to start; -1 for the head · 2 most bytes to read ·
--       then for each job: its size · its SHA-1
-- Returns  the place before which the next step starts, 0 at the end · then for each job found: its
--       position among those wanted, from 1 · its place.
-- Batches grow as in portion.lua, but larger, since walking to each costs time as well.
local CHUNK = 128

local wanted = {}
for i = 3, #ARGV, 2 do
  local size = tonumber(ARGV[i])
  local digests = wanted[size] or {}
  digests[ARGV[i + 1]] = digests[ARGV[i + 1]] or {} -- equal jobs may be wanted more than once
  table.insert(digests[ARGV[i + 1]], (i - 1) / 2)
  wanted[size] = digests
end

local length, place, room = redis.call('LLEN', KEYS[1]), tonumber(ARGV[1]), tonumber(ARGV[2])
if place < 0 or place > length then place = length end
local found, chunk, whole, read = {0}, 1, room, 0
while place > 0 and room > 0 do
  local many = math.min(chunk, place)
  local part = redis.call('LRANGE', KEYS[1], -place, many - place - 1)
  local bytes = 0
  for i, payload in ipairs(part) do
    bytes = bytes + #payload
    local digests = wanted[#payload]
    local positions = digests and digests[redis.sha1hex(payload)]
    if positions and #positions > 0 then
      found[#found + 1] = table.remove(positions)
      found[#found + 1] = place - i
    end
  end
  place, read = place - many, read + many
  local nodes = math.min(place, length - place) * math.min(1, bytes / many / 8192)
  room = room - bytes - 100 * many - 4 * nodes -- comparing and walking count as work
  chunk = math.max(1, math.min(2 * chunk, CHUNK, math.floor(room * read / (whole - room))))
end
found[1] = place
return found
