-- Reads the outcomes of steps of a workflow, as many as fit into some bytes: reading is the cheapest
-- way to know sizes.
--
-- KEYS  1 jobd:workflow:ID
-- ARGV  1 the bytes · 2… fields of the outcomes: r:N
-- Returns  of each what it has returned or its failure (JSON), or false where there is nothing; of none
--       of those that come ten after the first that does not fit any more.
local room, found, last = tonumber(ARGV[1]), {}, 0
for first = 2, #ARGV, 10 do
  local part = redis.call('HMGET', KEYS[1], unpack(ARGV, first, math.min(first + 9, #ARGV)))
  for i = 1, #part do
    local outcome = part[i]
    found[last + i] = outcome
    if outcome then room = room - #outcome end
  end
  last = last + #part
  if room < 0 then break end
end
return found
