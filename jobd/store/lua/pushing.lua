-- Prelude of the scripts that push jobs with attachments.
--
-- Such a job has ten arguments: payload without the time of the push · id · position of its queue,
-- from 1 · when it is due (s), or '' for now · key of its lock, or '' · how long it is held (s), or '' ·
-- 1 if it outlives the job, else 0 · what to do if another job holds it ('skip', 'raise', 'holder',
-- 'replace' or 'again') · seconds after the first push at which a debounced job is due in any case, or
-- '' · how long its result is kept (s), or ''
--
-- *push* is a table: `root` · `names`, `lists`: names and keys of the queues, by position · `at`: the
-- time of the client (s) · `first`, `last`: where the arguments of the jobs begin and end.

-- What each lock says, read once; what changes it here forgets that.
local locks = {}
local function lock_at(key)
  local lock = locks[key]
  if not lock then
    lock = redis.call('HMGET', key, 'jid', 'at', 'set', 'score', 'first', 'again_jid', 'stays')
    locks[key] = lock
  end
  return lock
end

-- Fails on a key of another type, before anything is changed.
local function check_pushes(push)
  for i = push.first, push.last, 10 do
    if ARGV[i + 4] ~= '' then lock_at(push.root .. 'jobd:lock:' .. ARGV[i + 4]) end
  end
end

local function await(push, jid, keep, due)
  local key = push.root .. 'jobd:result:' .. jid
  if keep == '' then return end
  -- A key of another type is left alone.
  local written = redis.pcall('HSET', key, 'state', waiting(due ~= '' and 'schedule' or nil))
  if type(written) == 'table' then return end
  -- Longer than retries and the dead set last.
  redis.call('EXPIRE', key, 7776000 + math.max(0, math.ceil((tonumber(due) or 0) - push.at)))
end

-- The entry of the sorted set in which the holder of a lock waits, and the set's key; nil if it does
-- not wait in one.
local function scheduled(root, lock)
  local set, score, holder = lock[3], lock[4], lock[1]
  if not set then return nil end
  -- Many may be due at the same time; most do not contain the id.
  for offset = 0, 1900, 100 do
    local part = redis.call('ZRANGEBYSCORE', root .. set, score, score, 'LIMIT', offset, 100)
    for _, member in ipairs(part) do
      local _, job = nil, nil
      if string.find(member, holder, 1, true) then _, job = attachments_of(member) end
      if job and job.jid == holder then return member, root .. set end
    end
    if #part < 100 then return nil end
  end
end

-- A job has been pushed whose payload may say that it is a member.
local function member_pushed(root, raw)
  if not string.find(raw, '"batch":[', 1, true) then return end
  local field = attachments_of(raw)
  if field and field.batch then feature_of('batch').pushed(root, field) end
end

local known = {}
local function put(push, raw, position, due)
  if due == '' then
    if not known[position] then redis.call('SADD', push.root .. 'queues', push.names[position]) end
    known[position] = true
    redis.call('LPUSH', push.lists[position], stamped(raw, server_time()))
  else
    redis.call('ZADD', push.root .. 'schedule', due, raw)
  end
end

-- A job whose place a newer one has taken.
local function replaced(root, raw, jid)
  local field, job = attachments_of(raw)
  if not field then return end
  tell_features('ended', root, field, job, raw, 'cancelled', '')
  finish(root, jid or job.jid, field.result, 'cancelled', '', job)
end

-- Pushes them, each in one step with its lock and the record of its result.
--
-- Returns  for each job: '' if it was pushed, else the id of the job that holds its lock · for how long
--       (s, as text); and how many were refused.
local function push_attached(push)
  local root, now, refused, answers = push.root, server_time(), 0, {}
  for i = push.first, push.last, 10 do
    local raw, jid, position, due = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
    local seconds, stays, how = tonumber(ARGV[i + 5]), ARGV[i + 6] == '1', ARGV[i + 7]
    local longest, keep = ARGV[i + 8], ARGV[i + 9]
    local key = ARGV[i + 4] ~= '' and root .. 'jobd:lock:' .. ARGV[i + 4]
    local lock = key and lock_at(key) or {}
    if key then locks[key] = nil end
    local first = lock[5] or push.at
    local answer = {'', ''}
    local open = not lock[1]
    if lock[1] == jid or lock[6] == jid then
      open = false -- it has been stored before
    elseif not open then
      local member, set
      if how == 'replace' then member, set = scheduled(root, lock) end
      if member then
        redis.call('ZREM', set, member)
        replaced(root, member)
        open = true
      elseif how == 'again' and not lock[7] then
        if lock[6] then -- it has waited itself; the newest arguments count
          redis.call('HSET', key, 'again_jid', jid)
          replaced(root, redis.call('HGET', key, 'again'), lock[6])
        end
        redis.call('HSET', key, 'again', raw, 'again_jid', jid, 'again_queue', push.names[position],
          'again_seconds', seconds or '', 'again_due', due)
        if not lock[6] then
          local left = redis.pcall('PTTL', key) -- without the permission there is no bound from now on
          bound(key, type(left) == 'number' and left > 0 and left / 1000 or nil, now)
        end
        await(push, jid, keep, due)
        member_pushed(root, raw)
      else
        answer = {lock[1], tostring(now - lock[2])}
        refused = refused + 1
      end
      if not open and not lock[7] and fits(root .. 'jobd:contested', 'zset') then
        redis.call('ZADD', root .. 'jobd:contested', 'NX', now, key)
      end
    end
    if open then
      if longest ~= '' then due = string.format('%.6f', math.min(due, first + longest)) end
      put(push, raw, position, due)
      if key then
        local wait = math.max(0, (tonumber(due) or 0) - push.at)
        hold(key, jid, seconds and seconds + wait, now, stays, not lock[1])
        if due ~= '' then redis.call('HSET', key, 'set', 'schedule', 'score', due) end
        if longest ~= '' then redis.call('HSET', key, 'first', first) end
      end
      await(push, jid, keep, due)
      member_pushed(root, raw)
    end
    answers[#answers + 1], answers[#answers + 2] = answer[1], answer[2]
  end
  return answers, refused
end
