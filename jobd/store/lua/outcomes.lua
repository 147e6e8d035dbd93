-- Reads the outcomes of steps of a workflow, as many as fit into some bytes: no command tells sizes
-- before it reads.
--
-- KEYS  1 jobd:workflow:ID
-- ARGV  1 the bytes · 2… numbers of steps
-- Returns  of each what it has returned or its failure (JSON), or false where there is nothing; of none
--       of those that come ten after the first that does not fit any more.
local room, found = tonumber(ARGV[1]), {}
for first = 2, #ARGV, 10 do
  local names = {}
  for i = first, math.min(first + 9, #ARGV) do names[#names + 1] = 'r:' .. ARGV[i] end
  for _, outcome in ipairs(redis.call('HMGET', KEYS[1], unpack(names))) do
    found[#found + 1] = outcome
    if outcome then room = room - #outcome end
  end
  if room < 0 then break end
end
return found
