-- Pushes jobs with attachments, each in one step with its lock and the record of its result.
--
-- KEYS  1 queues · 2 schedule · 3 stat:duplicates · 4 its day · 5 jobd:departed · 6… queue lists
-- ARGV  1 TTL of the day's counter (s) · 2 now (s), of the client · 3 how many queues follow, then
--       their names, in the order of KEYS, then for each job: payload without the time of the push ·
--       id · position of its queue, from 1 · when it is due (s), or '' for now · key of its lock, or
--       '' · how long it is held (s), or '' · 1 if it outlives the job, else 0 · what to do if another job holds it ('skip', 'raise',
--       'holder', 'replace' or 'again') · seconds after the first push at which a debounced job is
--       due in any case, or '' · how long its result is kept (s), or ''
-- Returns  for each job: '' if it was pushed, else the id of the job that holds its lock · for how
--       long (s, as text).
-- The types of all keys are checked first, since a script that fails half way is not rolled back.
-- Sent again after a lost reply it changes nothing for a unique job, and pushes the others again.
local root = root_of(KEYS[1], 'queues')
local queues = tonumber(ARGV[3])
for position = 1, queues do redis.call('LLEN', KEYS[5 + position]) end
redis.call('ZCARD', KEYS[2])
redis.call('SISMEMBER', KEYS[1], '')
redis.call('HEXISTS', KEYS[5], 'used')
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
for i = 4 + queues, #ARGV, 10 do
  if ARGV[i + 4] ~= '' then lock_at(root .. 'jobd:lock:' .. ARGV[i + 4]) end
end
local now = server_time()
local refused, answers = 0, {}

local function await(jid, keep, due)
  local key = root .. 'jobd:result:' .. jid
  if keep == '' then return end
  -- A key of another type is left alone.
  local written = redis.pcall('HSET', key, 'state', waiting(due ~= '' and 'schedule' or nil))
  if type(written) == 'table' then return end
  -- Longer than retries and the dead set last.
  redis.call('EXPIRE', key, 7776000 + math.max(0, math.ceil((tonumber(due) or 0) - ARGV[2])))
end

-- The entry of the sorted set in which the holder of a lock waits, and the set's key; nil if it does
-- not wait in one.
local function scheduled(lock)
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

local known = {}
local function put(raw, jid, position, due)
  if due == '' then
    if not known[position] then redis.call('SADD', KEYS[1], ARGV[3 + position]) end
    known[position] = true
    redis.call('LPUSH', KEYS[5 + position], stamped(raw, now))
  else
    redis.call('ZADD', KEYS[2], due, raw)
  end
end

for i = 4 + queues, #ARGV, 10 do
  local raw, jid, position, due = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local seconds, stays, how = tonumber(ARGV[i + 5]), ARGV[i + 6] == '1', ARGV[i + 7]
  local longest, keep = ARGV[i + 8], ARGV[i + 9]
  local key = ARGV[i + 4] ~= '' and root .. 'jobd:lock:' .. ARGV[i + 4]
  local lock = key and lock_at(key) or {}
  if key then locks[key] = nil end
  local first = lock[5] or ARGV[2]
  local answer = {'', ''}
  local open = not lock[1]
  if lock[1] == jid or lock[6] == jid then
    open = false -- it has been stored before
  elseif not open then
    local member, set
    if how == 'replace' then member, set = scheduled(lock) end
    if member then
      redis.call('ZREM', set, member)
      local field, job = attachments_of(member)
      finish(root, job.jid, field.result, 'cancelled', '', job)
      open = true
    elseif how == 'again' and not lock[7] then
      if lock[6] then -- it has waited itself; the newest arguments count
        redis.call('HSET', key, 'again_jid', jid)
        local waiting = redis.call('HGET', key, 'again')
        local field, job = attachments_of(waiting)
        if field then finish(root, lock[6], field.result, 'cancelled', '', job) end
      end
      redis.call('HSET', key, 'again', raw, 'again_jid', jid, 'again_queue', ARGV[3 + position],
        'again_seconds', seconds or '', 'again_due', due)
      redis.call('PERSIST', key)
      await(jid, keep, due)
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
    put(raw, jid, position, due)
    if key then
      local wait = math.max(0, (tonumber(due) or 0) - ARGV[2])
      hold(key, jid, seconds and seconds + wait, now, stays, not lock[1])
      if due ~= '' then redis.call('HSET', key, 'set', 'schedule', 'score', due) end
      if longest ~= '' then redis.call('HSET', key, 'first', first) end
    end
    await(jid, keep, due)
  end
  answers[#answers + 1], answers[#answers + 2] = answer[1], answer[2]
end
count(3, refused, ARGV[1])
redis.call('HSETNX', KEYS[5], 'used', 1)
return answers
