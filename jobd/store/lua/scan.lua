-- Scans a sorted set, a hash or a set, one step, and returns the entries that may contain a text.
--
-- KEYS  1 sorted set, hash or set
-- ARGV  1 'ZSCAN', 'HSCAN' or 'SSCAN' · 2 cursor, '0' to begin · 3 how many entries at most
--       4 most bytes to read · 5 the text, at most 32 bytes; '' for all entries
--       6 'fold' if lower-case letters in the text also match capitals
-- Returns  the next cursor, '0' at the end · how many entries were checked · those that contain the
--       text, each followed by its score or value.
-- Only plain text is compared, in time linear in the bytes; large entries are not even compared but
-- returned for the client to check. Batches grow as in portion.lua.
local CHUNK, LARGE = 10, 65536

local cursor, most, room, text = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local width = ARGV[1] == 'SSCAN' and 1 or 2
local folds = ARGV[6] == 'fold'
local scanned, found, chunk, whole = 0, {'', 0}, 1, room
repeat
  local answer = redis.call(ARGV[1], KEYS[1], cursor, 'COUNT', chunk)
  local part = answer[2]
  cursor, room = answer[1], room - 100 -- an empty step counts as work
  for i = 1, #part, width do
    local entry = part[i]
    scanned, room = scanned + 1, room - #entry - (width == 2 and #part[i + 1] or 0)
    if text == '' or #entry > LARGE or
        string.find(folds and string.lower(entry) or entry, text, 1, true) then
      found[#found + 1] = entry
      if width == 2 then found[#found + 1] = part[i + 1] end
    end
  end
  local fitting = math.floor(room * scanned / (whole - room))
  chunk = math.max(1, math.min(2 * chunk, CHUNK, fitting))
until cursor == '0' or room <= 0 or scanned >= most
found[1], found[2] = cursor, scanned
return found
