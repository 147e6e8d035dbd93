-- Adds to a batch: a block begins or goes on, with its jobs, its callbacks and its end, in one step.
--
-- KEYS  1 queues · 2 schedule · 3 stat:duplicates · 4 its day · 5 jobd:departed · 6 jobd:batches
--       7 jobd:batches:open · 8 jobd:batch:ID · 9 jobd:batch:ID:members · 10 jobd:batch:ID:callbacks
--       11 jobd:batch:ID:closed:BLOCK · 12… queue lists
-- ARGV  1 TTL of the day's counter (s) · 2 now (s), of the client · 3 id of the batch · 4 of the block
--       5 'new', 'open' (another block of a batch that has not ended) or 'go on' · 6 which call of the
--       block this is, from 1 · 7 'close' if it is the last, else '' · 8 how many numbers to reserve
--       9 of a new nested batch: id of the outer one · its number there, with a space between; or ''
--       10 how many fields of a new batch follow, then each and its value · how many callbacks follow,
--       then each event:number and its payload without the time of the push · how many queues follow,
--       then their names, in the order of KEYS · how many groups of jobs for now follow, then for each
--       group position of its queue, from 1 · number of its first job, after which those of the others
--       follow · how many jobs, then each payload up to the time of the push · how many jobs for later
--       follow, then each number, time (s) and payload · then ten for each job with other attachments
--       (see pushing.lua)
-- Returns  'ok'; 'again' if this call has been made before (then nothing is changed); 'finished' if
--       the batch has succeeded, been cancelled or is not there; 'closed' if the block is not open,
--       or the call before this one has not been made: it would be taken for repeated · the first of
--       the numbers reserved, -1 if none · as push.lua.
-- The types of all keys are checked first, since a script that fails half way is not rolled back. The
-- first write is one that a full server refuses, unless the block only ends.

local REPEATED = 3600 -- seconds within which a client may repeat a call

local root = root_of(KEYS[1], 'queues')
local at = 10
-- The next argument; the next ones in pairs, as many as the next one says.
local function word()
  at = at + 1
  return ARGV[at - 1]
end
local function pairs_of(count)
  local list = {}
  for _ = 1, count do list[#list + 1] = {word(), word()} end
  return list
end

local fields = pairs_of(tonumber(word()))
local callbacks = pairs_of(tonumber(word()))
local push = {root = root, names = {}, lists = {}, at = ARGV[2], last = #ARGV}
for position = 1, tonumber(word()) do
  push.names[position], push.lists[position] = word(), KEYS[11 + position]
  redis.call('LLEN', push.lists[position])
end
local groups, later = {}, {}
for i = 1, tonumber(word()) do
  groups[i] = {position = tonumber(word()), number = tonumber(word()), count = tonumber(word()), first = at}
  at = at + groups[i].count
end
for i = 1, tonumber(word()) do later[i] = {word(), word(), word()} end
push.first = at
redis.call('ZCARD', KEYS[2])
redis.call('SISMEMBER', KEYS[1], '')
redis.call('HEXISTS', KEYS[5], 'used')
redis.call('ZCARD', KEYS[6])
redis.call('ZCARD', KEYS[7])
local room = 2 * redis.call('STRLEN', KEYS[9])
redis.call('HLEN', KEYS[10])
check_pushes(push)

local key, block, now = KEYS[8], 'block:' .. ARGV[4], server_time()
local known = redis.call('HMGET', key, 'total', block, 'maker', 'success_at', 'cancelled_at', 'open')
local there, calls, open = known[1], tonumber(known[2] or nil), tonumber(known[6] or 0)
local closes = ARGV[7] == 'close'

-- The call that ends a block forgets the block: whether it has been made is seen by what it has added,
-- or by a key of the block if locks have kept all of that out.
local function has_added()
  local numbers = {}
  if groups[1] then numbers[1] = groups[1].number end
  if later[1] then numbers[#numbers + 1] = tonumber(later[1][1]) end
  for i = push.first, push.last, 10 do
    local field = attachments_of(ARGV[i])
    if field and type(field.batch) == 'table' then numbers[#numbers + 1] = field.batch[2] end
  end
  for _, number in ipairs(numbers) do
    -- Four bits each, the first ones above. Not BITFIELD, which a full server refuses.
    local place = string.format('%.0f', math.floor(number / 2))
    local two = string.byte(redis.call('GETRANGE', KEYS[9], place, place)) or 0
    if (number % 2 == 0 and math.floor(two / 16) or two % 16) ~= 0 then return true end
  end
  return callbacks[1] and redis.call('HEXISTS', KEYS[10], callbacks[1][1]) == 1
    or redis.call('EXISTS', KEYS[11]) == 1
end

if calls and calls >= tonumber(ARGV[6]) then return {'again', -1} end
if ARGV[5] == 'go on' and closes and there and not calls and has_added() then return {'again', -1} end
if ARGV[5] == 'new' then
  if there then return {known[3] == ARGV[4] and 'again' or 'finished', -1} end
elseif not there or known[4] or known[5] then
  return {'finished', -1}
elseif ARGV[5] == 'go on' and tonumber(ARGV[6]) ~= (calls or -1) + 1 then
  return {'closed', -1}
end
local parent = string.match(ARGV[9], '^(.-) %d+$')
if parent then
  parent = batch_at(root, parent)
  if not parent or tonumber(redis.call('HGET', parent, 'open') or 0) == 0 then return {'finished', -1} end
end

local adds = #groups > 0 or #later > 0 or push.first <= push.last or #callbacks > 0
if ARGV[5] == 'new' then
  local words = {'maker', ARGV[4], 'total', 0, 'pending', 0, 'fresh', 0, 'created_at', now,
    'state', 'queued'}
  for _, pair in ipairs(fields) do
    words[#words + 1], words[#words + 2] = pair[1], pair[2]
  end
  redis.call('HSET', key, unpack(words))
  redis.call('HSETNX', KEYS[5], 'used', 1)
  redis.call('ZADD', KEYS[6], now, ARGV[3])
  if parent then
    redis.call('HSET', key, 'parent', ARGV[9])
    members_joined(parent, {tonumber(string.match(ARGV[9], '%d+$'))})
  end
elseif closes and calls and not adds then
  redis.call('HDEL', key, block) -- a full server allows this, and the rest after it
end
if adds then redis.call('HSET', key, 'pushed_at', now) end
batch_rooms[key] = room

local late = {}
for _, pair in ipairs(callbacks) do
  local event = string.match(pair[1], '^(%l+):')
  if redis.call('HSETNX', KEYS[10], pair[1], pair[2]) == 1 and redis.call('HEXISTS', key, event .. '_at') == 1 then
    late[event] = true
  end
end
local stamp = ',"enqueued_at":' .. now .. '}'
for _, group in ipairs(groups) do
  redis.call('SADD', KEYS[1], push.names[group.position])
  local last = group.first + group.count - 1
  for first = group.first, last, 1000 do
    local payloads = {}
    for i = first, math.min(first + 999, last) do payloads[i - first + 1] = ARGV[i] .. stamp end
    redis.call('LPUSH', push.lists[group.position], unpack(payloads))
  end
  members_follow(key, group.number, group.count)
end
local numbers = {}
for i, job in ipairs(later) do
  numbers[i] = tonumber(job[1])
  redis.call('ZADD', KEYS[2], job[2], job[3])
end
members_joined(key, numbers)
local answers, refused = push_attached(push)
for event in pairs(late) do push_callbacks(root, key, event, now) end

local reserved = -1
if tonumber(ARGV[8]) > 0 then
  reserved = redis.call('HINCRBY', key, 'next', ARGV[8]) - ARGV[8]
end
if closes then
  if calls then
    redis.call('HDEL', key, block)
    if refused > 0 then redis.call('SET', KEYS[11], 1, 'EX', REPEATED) end
    redis.call('HINCRBY', key, 'open', -1)
    if open <= 1 then redis.call('ZREM', KEYS[7], ARGV[3]) end
  end
else
  redis.call('HSET', key, block, ARGV[6])
  if not calls then redis.call('HINCRBY', key, 'open', 1) end
  redis.call('ZADD', KEYS[7], now, ARGV[3])
end
redis.call('HDEL', key, 'abandoned_at')
batch_sum(key, 'moves', 0)
settled(root)
count(3, refused, ARGV[1])
table.insert(answers, 1, reserved)
table.insert(answers, 1, 'ok')
return answers
