-- Prelude of the scripts that act on jobs of a queue by place, counted from its tail: the job that is
-- next to run has place 0.
--
-- A job is looked for where it was last seen, then in the NEAR places on either side: workers may
-- have taken a few in the meantime, or returned some. Jobs farther away are not searched for here:
-- the caller does that, in steps (see locate.lua). Places read once are cached, so that adjacent jobs
-- need one read, and jobs that are gone cost no more than others.
--
-- Jobs found are marked, and all marks are removed together, from the nearer end; no client can see
-- one, because the script is atomic. Only then are their ends told: what is pushed for one, as the
-- callback of its batch, goes to the tail and moves all places.
--
-- Reaching the middle of a list means walking through it, so a script stops after WORK nodes, or after
-- reading as many bytes as take that long (some milliseconds).
local NEAR, AHEAD, ROOM, WORK = 50, 64, 1048576, 400000

local work = 0
local shift, from, to = 0, 0, 0
local at, near = {}, {} -- payloads by their places, and places by payloads
local marked, lowest, highest = 0, math.huge, 0

-- The index of a place, counted from the nearer end. A node holds 8 kB, or one job.
local function walk_to(place, length, payload)
  work = work + math.min(place, math.abs(length - place)) * math.min(1, #payload / 8192)
  return (2 * place < length or place >= length) and -1 - place or length - 1 - place
end

-- Reads the places from *first* to before *past*; returns their size in bytes.
local function read(list, first, past, payload)
  walk_to(first, redis.call('LLEN', list), payload)
  local part, bytes = redis.call('LRANGE', list, -past, -1 - first), 0
  for place = first, past - 1 do at[place] = false end
  for i, found in ipairs(part) do
    local place = first + #part - i
    at[place], near[found] = found, place
    bytes = bytes + #found
  end
  work = work + 10 * #part + bytes / 100
  return bytes
end

local function read_around(list, place, payload)
  local around = math.min(NEAR, math.floor(ROOM / 2 / (#payload + 1)))
  local room = ROOM
  from, to = math.max(0, place - around), place + around + 1
  for first = from, to - 1, 10 do
    if room < 0 then break end
    room = room - read(list, first, math.min(first + 10, to), payload)
  end
end

-- The place of a job that was at *place*; nil if it is no longer near it.
local function find_queued(list, place, payload)
  place = math.max(0, place + shift)
  if at[place] == nil then
    read(list, place, place + math.min(AHEAD, 1 + math.floor(ROOM / 16 / (#payload + 1))), payload)
  end
  if at[place] ~= payload then
    if not near[payload] and (place < from or place >= to) then read_around(list, place, payload) end
    local found = near[payload]
    if not found then return nil end
    shift, place = shift + found - place, found
  end
  at[place], near[payload] = false, nil
  return place
end

local function replace_queued(list, place, payload, new)
  redis.call('LSET', list, walk_to(place, redis.call('LLEN', list), payload), new)
end

-- *mark* is a text that is in no queue.
local function mark_queued(list, place, payload, mark)
  replace_queued(list, place, payload, mark)
  marked, lowest, highest = marked + 1, math.min(lowest, place), math.max(highest, place)
end

local function remove_marked(list, mark)
  if marked == 0 then return end
  local from_tail = highest < redis.call('LLEN', list) - lowest
  redis.call('LREM', list, from_tail and -marked or marked, mark)
end

