-- Goes through a sorted set, a hash or a set, one step, and sends what may hold a text.
--
-- KEYS  1 sorted set, hash or set
-- ARGV  1 'ZSCAN', 'HSCAN' or 'SSCAN' · 2 cursor, '0' to begin · 3 how many entries at most
--       4 bytes after which it ends · 5 the text, at most 32 bytes; '' for all entries
--       6 'fold' if small letters in the text stand for capitals, too
-- Returns  the next cursor, '0' at the end · how many entries it has looked at · those that hold the
--       text, each followed by its score or value.
-- Nothing but plain text is compared, in a time that grows with the bytes alone; and in what is
-- large not even that: it is sent as it is, and the client compares it. Draughts grow as in portion.lua.
local DRAUGHT, LARGE = 10, 65536

local cursor, most, room, text = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local width = ARGV[1] == 'SSCAN' and 1 or 2
local folds = ARGV[6] == 'fold'
local scanned, found, draught, whole = 0, {'', 0}, 1, room
repeat
  local answer = redis.call(ARGV[1], KEYS[1], cursor, 'COUNT', draught)
  local part = answer[2]
  cursor, room = answer[1], room - 100 -- an empty step is work as well
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
  draught = math.max(1, math.min(2 * draught, DRAUGHT, fitting))
until cursor == '0' or room <= 0 or scanned >= most
found[1], found[2] = cursor, scanned
return found
