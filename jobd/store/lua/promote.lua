-- Moves due jobs from a sorted set to their queues (malformed members to the dead set), and returns
-- the next due jobs to the calling keeper.
--
-- KEYS  1 schedule or retry · 2 queues · 3 dead · 4 reservations (see reserve.lua) · 5… queue lists
-- ARGV  1 now (s): what is due, and for the dead set · 2 keeper, '' for a caller that wants no further
--       jobs · 3 how many at most · 4 most bytes of them · 5 how long they are reserved for it (s)
--       6 how many queues follow, then their names, in the order of KEYS, then for each job: the
--       member as it is in the set · position of its queue, from 1, or 0 for the dead set · payload
--       to push
-- Returns  {how many were still in the set and have been moved, {the members not moved because the
--       target key has another type …}, {the next members …}, for how long all due members are
--       reserved by other keepers (s, as text; '0' if none is due), {for each dead job that was not
--       moved: what keeps it out (see moves.lua) …}}. Members no longer in the set
--       have been taken by another keeper or a user in the meantime.
-- A job is written to its new place before it is removed from the old one: a script that fails half
-- way is not rolled back. PERSIST changes nothing; it allows the writes after it when memory is full.
redis.call('PERSIST', KEYS[1])
local queues = tonumber(ARGV[6])
local open = {[0] = fits(KEYS[3], 'zset')}
for position = 1, queues do open[position] = fits(KEYS[4 + position], 'list') end
local root = root_of(KEYS[2], 'queues')
local from_dead = KEYS[1] == KEYS[3]
local moved, refused, holders = 0, {}, {}
for i = 7 + queues, #ARGV, 3 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    local position = tonumber(ARGV[i + 1])
    local holder = from_dead and kept_out(root, ARGV[i])
    if holder then
      holders[#holders + 1] = holder
    elseif not open[position] then
      refused[#refused + 1] = ARGV[i]
    else
      if position == 0 then
        redis.call('ZADD', KEYS[3], ARGV[1], ARGV[i + 2])
      else
        redis.call('SADD', KEYS[2], ARGV[6 + position])
        redis.call('LPUSH', KEYS[4 + position], ARGV[i + 2])
      end
      redis.call('ZREM', KEYS[1], ARGV[i])
      if position == 0 then
        ended(root, ARGV[i], 'failed', '')
      elseif from_dead then
        came_back(root, ARGV[i + 2])
      else
        moved_on(root, ARGV[i + 2])
      end
      moved = moved + 1
    end
  end
end
local members, wait = {}, 0
if ARGV[2] ~= '' then
  members, wait = reserve(KEYS[1], KEYS[4], ARGV[2], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]),
    tonumber(ARGV[5]))
end
return {moved, refused, members, tostring(wait), holders}
