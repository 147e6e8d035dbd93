-- Prelude of `end`: ends of jobs on which one thing hangs, or a lock and a result, in the bytes that
-- clients write. Most are such, and these are read without being decoded; all others are for `ended`. What
-- several of them change alike is written once.
--
-- The texts looked for end the payload and can be nowhere else: strings have no bare quotes, and the
-- last brace closes the payload.

-- Keys of locks that nobody holds any more; by kind and id, the numbers of members of a batch, and of
-- steps of a workflow, that have ended.
local freed, together = {}, {}
local function note_number(kind, id, number)
  local ids = together[kind]
  if not ids then
    ids = {}
    together[kind] = ids
  end
  local numbers = ids[id]
  if not numbers then
    numbers = {}
    ids[id] = numbers
  end
  numbers[#numbers + 1] = tonumber(number)
  return true
end

-- The id of a job and when it was created, which clients write right before what hangs on it.
local function origin(raw, at)
  local start = string.find(raw, ',"jid":"', math.max(1, at - 99), true)
  if not start then return nil end
  local jid, created, after = string.match(raw, '^,"jid":"(%x+)","created_at":(%d+%.?%d*)()', start)
  if after == at - 15 then return jid, created end
end

local function lock_ended(root, key, jid)
  local lock = redis.pcall('HMGET', key, 'jid', 'again')
  if lock[1] ~= jid then return end
  if lock[2] then release(root, key, jid) else freed[#freed + 1] = key end
end

-- What happens at the end of such a job. What hangs on it begins at *at*. Returns whether it is one.
local function end_simply(root, raw, at, state, detail)
  local letter = string.byte(raw, at + 1)
  if letter == 98 then -- b
    local id, number = string.match(raw, '^"batch":%["(%x+)",(%d+)%]},"enqueued_at":%d+%.?%d*}$', at)
    return id and note_number('batch', id, number)
  elseif letter == 110 then -- n
    local id, number = string.match(raw, '^"node":{"id":"(%x+)","n":(%d+)}},"enqueued_at":%d+%.?%d*}$', at)
    -- The step keeps what it has returned, and a number is no larger than Lua can count.
    return id and #number <= 15 and state == 'done' and detail == '' and note_number('node', id, number)
  end
  local name, rest, after = string.match(raw, '^"lock":{"key":"(%x+)"([^{}]*)}()', at)
  if name and string.find(rest, '"until"', 1, true) then return false end
  local enqueued, seconds = string.match(raw, '^},"enqueued_at":(%d+%.?%d*)}$', after or at), nil
  if not enqueued then
    local found = name and '^,"result":(%d+%.?%d*)},"enqueued_at":(%d+%.?%d*)}$'
      or '^"result":(%d+%.?%d*)},"enqueued_at":(%d+%.?%d*)}$'
    seconds, enqueued = string.match(raw, found, after or at)
    if not length(seconds) then return false end
  end
  local jid, created = origin(raw, at)
  if not jid then return false end
  if name then lock_ended(root, root .. 'jobd:lock:' .. name, jid) end
  if seconds then
    local key = root .. 'jobd:result:' .. jid
    keep_result(key, length(seconds), state, detail, redis.pcall('HSET', key, 'state', state, 'at',
      server_time(), 'detail', detail, 'created_at', string.format('%.3f', created),
      'enqueued_at', string.format('%.3f', enqueued)))
  end
  return true
end

-- Ends such a job; returns whether it is one. One whose end has failed is not: `ended` says why.
local function simply_ended(root, raw, state, detail)
  local at = string.find(raw, ',"jobd":{"v":1,"', -240, true)
  if not at then return false end
  local done, understood = pcall(end_simply, root, raw, at + 15, state, detail)
  return done and understood
end

local function free(root, ...)
  redis.call('DEL', ...)
  if is_contested(root) then redis.call('ZREM', root .. 'jobd:contested', ...) end
end

-- Writes what they have changed.
local function settle_simple(root, state)
  for first = 1, #freed, 1000 do
    safely(free, root, unpack(freed, first, math.min(first + 999, #freed)))
  end
  for kind, ids in pairs(together) do
    for id, numbers in pairs(ids) do safely(feature_of(kind).ended_together, root, id, numbers, state) end
  end
end
