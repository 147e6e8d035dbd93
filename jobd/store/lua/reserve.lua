-- Prelude of promote.lua: distributes the due jobs, so that keepers do not all promote the same ones.
--
-- A reservation holds how many jobs a keeper has been given and until when. The reserved jobs of all
-- keepers are the first ones of the set, so the next keeper gets those after them. Reservations are a
-- hint and can neither lose nor duplicate a job: a promoted job must still be in the set. They expire,
-- e.g. when a keeper has died. Jobs added in front of reserved ones are not passed over for long:
-- once per reservation time, one keeper gets the very first ones (FRONT, a reservation of no jobs).
local FRONT = 'front'

-- Returns the members with a score up to *now* that *keeper* gets · if all of them are reserved by
-- other keepers, for how long.
local function reserve(source, reservations, keeper, now, most, room, seconds)
  local keeps = fits(reservations, 'hash')
  local time = redis.call('TIME')
  local clock = time[1] + time[2] / 1000000
  local first, next_end, front = 0, math.huge, false
  if keeps then
    redis.call('HDEL', reservations, keeper)
    local held = redis.call('HGETALL', reservations)
    for i = 1, #held, 2 do
      local jobs, till = string.match(held[i + 1], '^(%d+) (%d+%.?%d*)$')
      if till and tonumber(till) > clock then
        first, next_end = first + jobs, math.min(next_end, tonumber(till))
        front = front or held[i] == FRONT
      else
        redis.call('HDEL', reservations, held[i])
      end
    end
  end
  if not front then first = 0 end

  local due = redis.call('ZCOUNT', source, '-inf', now)
  if due == 0 then return {}, 0 end
  if first >= due then return {}, next_end - clock end
  local members, chunk = {}, 1 -- batches grow as in portion.lua
  local bytes = 0
  while #members < most and first < due and bytes < room do
    local last = math.min(first + chunk, due, first + most - #members) - 1
    for _, member in ipairs(redis.call('ZRANGE', source, first, last)) do
      bytes = bytes + #member
      members[#members + 1] = member
    end
    first = last + 1
    local fitting = math.floor((room - bytes) * #members / (bytes + 1))
    chunk = math.max(1, math.min(2 * chunk, 16, fitting))
  end
  if keeps then
    local till = string.format('%.6f', clock + seconds)
    redis.call('HSET', reservations, keeper, #members .. ' ' .. till)
    if not front then redis.call('HSET', reservations, FRONT, '0 ' .. till) end
    redis.call('EXPIRE', reservations, 60)
  end
  return members, 0
end

