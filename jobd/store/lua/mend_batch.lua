-- Corrects what is known of members of a batch, and counts all of them again.
--
-- KEYS  1 queues · 2 jobd:batch:ID · 3 jobd:batch:ID:members
-- ARGV  1 id · 2 how often the batch had changed (its field `moves`) when that was found out · then for
--       each member: its number · its state
-- Returns  how many members were given; -1 if there is no such batch, or it has changed since then.
-- Counting takes some 50 ms for a million members.
local root = root_of(KEYS[1], 'queues')
local key = batch_at(root, ARGV[1])
if not key or (redis.call('HGET', key, 'moves') or '0') ~= ARGV[2] then return -1 end
redis.call('PERSIST', KEYS[2]) -- as in lease_clock.lua
for i = 3, #ARGV, 2 do member_changed(key, ARGV[i], ARGV[i + 1]) end
batch_sums[key] = nil
local counts = {total = 0, failed = 0, fresh = 0}
for _, name in ipairs(NAMES) do counts[name] = 0 end
local function count(half)
  local state = half % 8
  if state == 0 then return end
  counts.total = counts.total + 1
  counts[NAMES[state]] = counts[NAMES[state]] + 1
  if half >= 8 then
    counts.failed = counts.failed + 1
  elseif state == 1 then
    counts.fresh = counts.fresh + 1
  end
end
local size = redis.call('STRLEN', KEYS[3])
for first = 0, size - 1, 4096 do
  local part = redis.call('GETRANGE', KEYS[3], first, first + 4095)
  for i = 1, #part do
    local byte = string.byte(part, i)
    count(math.floor(byte / 16))
    count(byte % 16)
  end
end
for name, amount in pairs(counts) do redis.call('HSET', key, name, amount) end
member_seen(key)
settled(root)
return (#ARGV - 2) / 2
