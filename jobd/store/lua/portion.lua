-- Reads a range of a queue or of a sorted set, up to a size limit.
--
-- KEYS  1 list or sorted set
-- ARGV  1 'head' or 'tail': places of a list, from that end · 'up' or 'down': ranks of a sorted set,
--       in that order of the scores · 2 the first place or rank, from 0 · 3 how many at most
--       4 most bytes to read; the first entry is always read
-- Returns  how many entries there are in all · then the payloads, in that order, each followed by its
--       score if it is a sorted set.
-- All clients wait while a script runs, and no command gives the size of an entry before it is read.
-- So the first batch is one entry, and later ones are sized by those before. In the middle of a long
-- list walking to each batch takes longer than reading it: there they are fewer, and larger.
local FAR = 20000

local kind, first, left, room = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local is_list = kind == 'head' or kind == 'tail'
local found = {redis.call(is_list and 'LLEN' or 'ZCARD', KEYS[1])}
left = math.min(left, found[1] - first)
local far = is_list and math.min(first, found[1] - first) > FAR
local growth, most = far and 16 or 2, far and 128 or 16
local read, bytes, chunk = 0, 0, 1

local function take(payload, score)
  bytes = bytes + #payload
  found[#found + 1] = payload
  if score then found[#found + 1] = score end
end

while left > 0 and bytes < room do
  local many = math.min(chunk, left)
  local last = first + many - 1
  if kind == 'tail' then
    local part = redis.call('LRANGE', KEYS[1], -1 - last, -1 - first)
    for i = #part, 1, -1 do take(part[i]) end
  elseif kind == 'head' then
    for _, payload in ipairs(redis.call('LRANGE', KEYS[1], first, last)) do take(payload) end
  else
    local part = redis.call(kind == 'up' and 'ZRANGE' or 'ZREVRANGE', KEYS[1], first, last, 'WITHSCORES')
    for i = 1, #part, 2 do take(part[i], part[i + 1]) end
  end
  first, left, read = first + many, left - many, read + many
  local fitting = math.floor((room - bytes) * read / (bytes + 1))
  chunk = math.max(1, math.min(growth * chunk, most, fitting))
end
return found
