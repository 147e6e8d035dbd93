-- Reads hashes one after the other, as many as fit.
--
-- KEYS  hashes
-- ARGV  1 bytes after which it ends; of the first hash something is always read
-- Returns  for each hash that was looked at a list: its fields, each followed by its value. Of one
--       that is larger than all of that, some. A key of another type is an empty hash.
-- Draughts grow as in portion.lua.
local room, found, draught = tonumber(ARGV[1]), {}, 1
for i, key in ipairs(KEYS) do
  if room <= 0 then break end
  local fields, cursor = {}, '0'
  repeat
    local answer = redis.pcall('HSCAN', key, cursor, 'COUNT', draught)
    if answer.err then break end
    cursor = answer[1]
    for _, word in ipairs(answer[2]) do
      fields[#fields + 1] = word
      room = room - #word
    end
    draught = math.min(2 * draught, 16)
  until cursor == '0' or room <= 0
  if cursor ~= '0' and room <= 0 and i > 1 then break end -- it is the first of the next call
  found[i] = fields
  room = room - 1000 -- a look is work as well
end
return found
