-- Reads hashes one after the other, up to a size limit.
--
-- KEYS  hashes
-- ARGV  1 most bytes to read; part of the first hash is always read
-- Returns  for each hash that was read a list: its fields, each followed by its value; only some if
--       it is larger than the limit. A key of another type counts as an empty hash.
-- Batches grow as in portion.lua.
local room, found, chunk = tonumber(ARGV[1]), {}, 1
for i, key in ipairs(KEYS) do
  if room <= 0 then break end
  local fields, cursor = {}, '0'
  repeat
    local answer = redis.pcall('HSCAN', key, cursor, 'COUNT', chunk)
    if answer.err then break end
    cursor = answer[1]
    for _, word in ipairs(answer[2]) do
      fields[#fields + 1] = word
      room = room - #word
    end
    chunk = math.min(2 * chunk, 16)
  until cursor == '0' or room <= 0
  if cursor ~= '0' and room <= 0 and i > 1 then break end -- the next call begins with it
  found[i] = fields
  room = room - 1000 -- every command counts as work
end
return found
