-- Prelude after attachments.lua: what changes with jobs that move and live on, or come back.

-- For how long a lock is held from now on, by its job that is due at *score*; nil without a bound.
local function held_for(lock, score, now)
  local seconds = length(lock.seconds)
  return seconds and seconds + math.max(0, (tonumber(score) or 0) - now)
end

local function move_attached(root, raw, set, score)
  local field, job = attachments_of(raw)
  if not field then return end
  tell_features('moved_on', root, field, job, set)
  local key, lock = lock_of(root, field)
  if key and redis.call('HGET', key, 'jid') == job.jid then
    local now = server_time()
    redis.call('HSET', key, 'seen', now)
    if set == 'schedule' and length(lock.seconds) then
      bound(key, held_for(lock, score, now), now)
    end
    if set then
      redis.call('HSET', key, 'set', set, 'score', score)
    elseif lock['until'] == 'due' then
      release(root, key, job.jid)
    else
      redis.call('HDEL', key, 'set', 'score')
    end
  end
  local result = root .. 'jobd:result:' .. job.jid
  if field.result and fits(result, 'hash') and redis.call('EXISTS', result) == 1 then
    redis.call('HSET', result, 'state', waiting(set))
  end
end

-- The job has moved to another place, where it lives on. *set* and *score*: of a sorted set, else nil.
local function moved_on(root, raw, set, score)
  safely(move_attached, root, raw, set, score)
  settled(root)
end

-- Whether a feature keeps a job out, since it is somewhere else or was ended for good: what does, or nil.
-- *unended*: as for `kept_out`.
local function is_elsewhere(root, raw, unended)
  local field, job = attachments_of(raw)
  if not field then return nil end
  for _, kind in ipairs(KINDS) do
    local keeps_out = field[kind] and feature_of(kind).kept_out
    local holder = keeps_out and keeps_out(root, field, unended)
    if holder then return holder end
  end
end

-- Before a job comes back: the id of another one that holds its lock, `workflow:ID` of a workflow that
-- keeps it out, or nil. *unended*: what hangs on it has not been ended yet, so nothing is elsewhere.
local function kept_out(root, raw, unended)
  local field, job = attachments_of(raw)
  if not field then return nil end
  local other = is_elsewhere(root, raw, unended)
  if other then return other end
  local key = lock_of(root, field)
  if not key then return nil end
  local holder = redis.call('HGET', key, 'jid')
  return holder and holder ~= job.jid and holder or nil
end

local function bring_attached_back(root, raw, set, score)
  local field, job = attachments_of(raw)
  if not field then return end
  tell_features('came_back', root, field, job)
  local key, lock = lock_of(root, field)
  if key then
    local now = server_time()
    hold(key, job.jid, held_for(lock, score, now), now, lock['until'] == 'expiry')
    if set then redis.call('HSET', key, 'set', set, 'score', score) end
  end
  local result = root .. 'jobd:result:' .. job.jid
  if field.result and fits(result, 'hash') then
    redis.call('DEL', result)
    redis.call('HSET', result, 'state', waiting(set))
    redis.call('EXPIRE', result, 7776000)
  end
end

-- The job has come back: it takes its lock, and its result is awaited again.
local function came_back(root, raw, set, score)
  safely(bring_attached_back, root, raw, set, score)
  settled(root)
end

