-- Finds entries of a sorted set by score and id, one step.
--
-- KEYS  1 sorted set
-- ARGV  1 most bytes to read · 2 entries with the first of the scores that have already been checked
--       · then for each entry wanted: its score · its id, or '' for all with that score
-- Returns  how many of those wanted are done · how many entries with the score of the next one have
--       been checked · the payloads that contain the ids, each followed by its score.
local room, offset, at = tonumber(ARGV[1]), tonumber(ARGV[2]), 3
local found, chunk = {0, 0}, 1 -- batches grow as in portion.lua
while at < #ARGV and room > 0 do
  local score, id = ARGV[at], ARGV[at + 1]
  local before = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. score)
  local all = redis.call('ZCOUNT', KEYS[1], score, score)
  while offset < all and room > 0 do
    local first = before + offset
    local part = redis.call('ZRANGE', KEYS[1], first, first + math.min(chunk, all - offset) - 1)
    for _, payload in ipairs(part) do
      room = room - #payload
      if id == '' or string.find(payload, id, 1, true) then
        found[#found + 1] = payload
        found[#found + 1] = score
      end
    end
    offset, chunk = offset + #part, math.min(2 * chunk, 10)
  end
  room = room - 1000 -- every command counts as work
  if offset >= all then at, offset = at + 2, 0 end
end
found[1], found[2] = (at - 3) / 2, offset
return found
