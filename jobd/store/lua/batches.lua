-- Prelude of the scripts that move or end jobs: what becomes of the members of batches.
--
-- A member has `"batch": [id, number]` among its attachments. `jobd:batch:ID` counts the members in
-- each state; `jobd:batch:ID:members` has four bits for each number: whether it has failed once, then
-- its state. So whatever is repeated, each member counts once. What several members change in one
-- script is added up and written by `settle_batches`, which pushes the callbacks that are due.

local STATES = {pending = 1, done = 2, dead = 3, expired = 4, cancelled = 5, unconfirmed = 6}
local NAMES = {'pending', 'done', 'dead', 'expired', 'cancelled', 'unconfirmed'}
local LINGER = 86400 -- seconds that a batch is kept after its end

-- What has changed and is not written yet, by batch; and for how many numbers there is room in
-- `members`, false if its keys cannot be used.
local batch_sums, batch_rooms = {}, {}

-- The key of a batch, if it is there.
local function batch_at(root, id)
  if type(id) ~= 'string' then return nil end
  local key = root .. 'jobd:batch:' .. id
  if batch_rooms[key] == nil then
    local bytes = redis.pcall('STRLEN', key .. ':members')
    batch_rooms[key] = type(bytes) == 'number' and fits(key, 'hash') and fits(key .. ':callbacks', 'hash')
      and redis.call('HEXISTS', key, 'total') == 1 and 2 * bytes
  end
  return batch_rooms[key] and key or nil
end

local function batch_sum(key, name, amount)
  local sums = batch_sums[key]
  if not sums then
    sums = {}
    batch_sums[key] = sums
  end
  sums[name] = (sums[name] or 0) + amount
end

-- A member is in another *state*; or has *failed*, in the same one, which is nil then. A number that is
-- none, as somebody has written it by hand, must not make `members` longer: BITFIELD would.
local function member_changed(key, number, state, failed)
  number = tonumber(number)
  if not number or number < 0 or number >= batch_rooms[key] or number % 1 ~= 0 then return end
  local place, before = 4 * number, nil
  if state and not failed then
    before = redis.call('BITFIELD', key .. ':members', 'GET', 'u1', place, 'SET', 'u3', place + 1, STATES[state])
    before = 8 * before[1] + before[2]
  else
    before = redis.call('BITFIELD', key .. ':members', 'GET', 'u4', place)[1]
  end
  local was, had_failed = before % 8, before >= 8
  if was == 0 then -- no such member: as before
    if state and not failed then redis.call('BITFIELD', key .. ':members', 'SET', 'u4', place, before) end
    return
  end
  local is = state and STATES[state] or was
  if failed then
    redis.call('BITFIELD', key .. ':members', 'SET', 'u4', place, 8 + is)
    if not had_failed then batch_sum(key, 'failed', 1) end
  end
  if was ~= is then
    batch_sum(key, NAMES[was], -1)
    batch_sum(key, NAMES[is], 1)
  end
  local fresh = (is == 1 and not (failed or had_failed) and 1 or 0) - (was == 1 and not had_failed and 1 or 0)
  if fresh ~= 0 then batch_sum(key, 'fresh', fresh) end
end

-- Members are in another *state*, which is no failure: many that are close to one another are read and
-- written at once.
local function members_ended(key, numbers, state)
  local least, most = span(numbers)
  if not least or most >= batch_rooms[key] then
    for _, number in ipairs(numbers) do member_changed(key, number, state) end
  else
    local first, last = math.floor(least / 2), math.floor(most / 2)
    local pairs_of_two = {string.byte(redis.call('GETRANGE', key .. ':members', first, last), 1, -1)}
    local is, changed = STATES[state], {}
    for _, number in ipairs(numbers) do
      local at = math.floor(number / 2) - first + 1
      local unit = number % 2 == 0 and 16 or 1
      local before = math.floor(pairs_of_two[at] / unit) % 16
      local was = before % 8
      if was ~= 0 and was ~= is then
        pairs_of_two[at] = pairs_of_two[at] + (is - was) * unit
        changed[before] = (changed[before] or 0) + 1
      end
    end
    redis.call('SETRANGE', key .. ':members', first, string.char(unpack(pairs_of_two)))
    for before, amount in pairs(changed) do
      batch_sum(key, NAMES[before % 8], -amount)
      batch_sum(key, state, amount)
      if before == 1 then batch_sum(key, 'fresh', -amount) end
    end
  end
  batch_sum(key, 'moves', 0)
end

-- Numbers become members, which wait.
local function members_joined(key, numbers)
  for first = 1, #numbers, 500 do
    local words = {}
    for i = first, math.min(first + 499, #numbers) do
      words[#words + 1] = 'SET'
      words[#words + 1] = 'u4'
      words[#words + 1] = '#' .. string.format('%.0f', numbers[i])
      words[#words + 1] = 1
      batch_rooms[key] = math.max(batch_rooms[key], numbers[i] + 1)
    end
    local added = #words / 4
    for _, before in ipairs(redis.call('BITFIELD', key .. ':members', unpack(words))) do
      if before ~= 0 then added = added - 1 end
    end
    batch_sum(key, 'total', added)
    batch_sum(key, 'pending', added)
    batch_sum(key, 'fresh', added)
  end
end

-- The same of numbers that follow one another: behind all that have been given, bytes are written whole.
local function members_follow(key, first, count)
  local numbers, last = {}, first + count - 1
  if first % 2 == 1 then
    numbers[1] = first
    first = first + 1
  end
  local pairs_of_two = math.floor((last - first + 1) / 2)
  if pairs_of_two > 0 and 2 * redis.call('STRLEN', key .. ':members') <= first then
    redis.call('SETRANGE', key .. ':members', first / 2, string.rep('\17', pairs_of_two))
    first = first + 2 * pairs_of_two
    batch_rooms[key] = math.max(batch_rooms[key], first)
    for _, name in ipairs({'total', 'pending', 'fresh'}) do batch_sum(key, name, 2 * pairs_of_two) end
  end
  for number = first, last do numbers[#numbers + 1] = number end
  members_joined(key, numbers)
end

-- Pushes one callback, at the head of its queue; returns whether there was a place for it.
local function push_callback(root, raw, now)
  local read, job = pcall(cjson.decode, raw)
  if not read or type(job.queue) ~= 'string' then return true end
  local queue, field = root .. 'queue:' .. job.queue, job.jobd
  if fits(queue, 'list') then
    redis.call('RPUSH', queue, stamped(raw, now))
    redis.call('SADD', root .. 'queues', job.queue)
  elseif fits(root .. 'schedule', 'zset') then
    redis.call('ZADD', root .. 'schedule', now, raw) -- as in places.lua
  else
    return false
  end
  if type(field) ~= 'table' then return true end
  local result = root .. 'jobd:result:' .. job.jid
  if field.result and fits(result, 'hash') then
    redis.call('HSET', result, 'state', 'queued')
    redis.call('EXPIRE', result, 7776000)
  end
  local batch = type(field.batch) == 'table' and batch_at(root, field.batch[1])
  if batch then members_joined(batch, {field.batch[2]}) end
  return true
end

-- Pushes the callbacks of an event that have not been.
local function push_callbacks(root, key, event, now)
  local stored = redis.call('HGETALL', key .. ':callbacks')
  for i = 1, #stored, 2 do
    if stored[i + 1] ~= '' and string.sub(stored[i], 1, #event + 1) == event .. ':' then
      if push_callback(root, stored[i + 1], now) then
        redis.call('HSET', key .. ':callbacks', stored[i], '') -- so that it never is again
      end
    end
  end
end

-- Writes when a batch is to be removed: at this moment, or not at all.
local function expire_batch(key, seconds)
  for _, name in ipairs({key, key .. ':members', key .. ':callbacks'}) do
    if seconds then redis.call('EXPIRE', name, seconds) else redis.call('PERSIST', name) end
  end
end

-- Does what is due now: callbacks, the end of the batch, its state as a member of another one.
local function settle_batch(root, key)
  local now = server_time()
  local read = redis.call('HMGET', key, 'open', 'pending', 'fresh', 'dead', 'expired', 'cancelled',
    'unconfirmed', 'strict', 'died', 'success_at', 'complete_at', 'death_at', 'ended_at', 'parent')
  local open, pending, fresh = tonumber(read[1] or 0), tonumber(read[2] or 0), tonumber(read[3] or 0)
  local dead = tonumber(read[4] or 0)
  local dropped = tonumber(read[5] or 0) + tonumber(read[6] or 0) + tonumber(read[7] or 0)
  local bad = dead + (read[8] and dropped or 0)
  local died, success, ended = read[9] or bad > 0, read[10], read[13]
  if bad > 0 and not read[9] then redis.call('HSET', key, 'died', 1) end
  if open == 0 then
    if pending == 0 and bad == 0 and not success then
      success = now
      redis.call('HSET', key, 'success_at', now)
      push_callbacks(root, key, 'success', now)
    end
    if fresh == 0 and not read[11] then
      redis.call('HSET', key, 'complete_at', now)
      push_callbacks(root, key, 'complete', now)
    end
    if died and not read[12] then
      redis.call('HSET', key, 'death_at', now)
      push_callbacks(root, key, 'death', now)
    end
  end
  if pending == 0 and open == 0 then
    if not ended then
      -- Whoever waits listens as for a result.
      local state = bad == 0 and 'done' or 'failed'
      redis.call('HSET', key, 'ended_at', now, 'state', state, 'detail', '{}')
      redis.pcall('PUBLISH', key, state .. ' {}')
    end
    -- One with dead members is kept as long as the dead set keeps one; a keeper looks.
    expire_batch(key, dead == 0 and LINGER or nil)
  elseif ended then
    redis.call('HDEL', key, 'ended_at')
    redis.call('HSET', key, 'state', 'queued')
    expire_batch(key, nil)
  end
  if not read[14] then return end
  local id, number = string.match(read[14], '^(.-) (%d+)$')
  local parent = id and batch_at(root, id)
  if not parent then return end
  if success then
    member_changed(parent, number, 'done')
  elseif open == 0 and bad > 0 then
    member_changed(parent, number, 'dead', true)
  else
    member_changed(parent, number, 'pending')
    if open == 0 and fresh == 0 then member_changed(parent, number, nil, true) end
  end
end

local function write_sums(root, key, sums)
  redis.call('HINCRBY', key, 'moves', 1)
  for name, amount in pairs(sums) do
    if amount ~= 0 then redis.call('HINCRBY', key, name, amount) end
  end
  settle_batch(root, key)
end

-- Writes what has been added up, and does what is due. One batch that cannot be written, since somebody
-- has changed it by hand, keeps no other from that.
local function settle_batches(root)
  local key, sums = next(batch_sums)
  while key do
    batch_sums[key] = nil
    safely(write_sums, root, key, sums)
    key, sums = next(batch_sums)
  end
end

local ENDS = {done = 'done', failed = 'dead', expired = 'expired', cancelled = 'cancelled'}

-- The batch of a job, if it is a member.
local function batch_of(root, field)
  return type(field.batch) == 'table' and batch_at(root, field.batch[1])
end

-- Reconciliation must know that a script of ours has had a member in its hands.
local function member_seen(key) batch_sum(key, 'moves', 0) end

features.batch = {
  ended = function(root, field, _, _, state)
    local key = batch_of(root, field)
    if not key then return end
    member_changed(key, field.batch[2], ENDS[state], state == 'failed')
    member_seen(key)
  end,
  moved_on = function(root, field, _, set)
    local key = batch_of(root, field)
    if not key then return end
    if set == 'retry' then member_changed(key, field.batch[2], nil, true) end
    member_seen(key)
  end,
  came_back = function(root, field)
    local key = batch_of(root, field)
    if not key then return end
    member_changed(key, field.batch[2], 'pending')
    member_seen(key)
  end,
  pushed = function(root, field)
    local key = batch_of(root, field)
    if key then members_joined(key, {field.batch[2]}) end
  end,
  ended_together = function(root, id, numbers, state)
    local key = batch_at(root, id)
    if key then members_ended(key, numbers, ENDS[state]) end
  end,
  settle = settle_batches,
}
