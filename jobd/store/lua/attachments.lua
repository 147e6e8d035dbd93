-- Prelude of the scripts that move or end jobs: what hangs on a job changes in the same step.
--
-- A job's attachments are in the field `jobd` of its payload (see jobd/wire/attachments.py); a
-- payload without it costs one search for its name. Whatever is wrong with that field, a job can be
-- moved: what cannot be understood has no effect. Callers move the job first: it was still there, so
-- this is its departure, and happens once.
--
-- *root* is the prefix of all keys. Keys: `jobd:lock:KEY`, `jobd:contested`, `jobd:result:JID`.

-- The prefix, from a *key* that ends in *name*.
local function root_of(key, name) return string.sub(key, 1, -1 - #name) end

-- The time of the server, which is the same throughout a script.
local asked
local function server_time()
  if not asked then
    local time = redis.call('TIME')
    asked = string.format('%.6f', time[1] + time[2] / 1000000)
  end
  return asked
end

-- Whether *key* has that type or does not exist.
local function fits(key, kind)
  local type = redis.call('TYPE', key).ok
  return type == kind or type == 'none'
end

-- The decoded attachments of a payload and the decoded payload; nil if there are none.
local function attachments_of(raw)
  if not string.find(raw, '"jobd"', 1, true) then return nil end
  local read, job = pcall(cjson.decode, raw)
  local field = read and type(job) == 'table' and job.jobd
  if type(field) ~= 'table' or field.v ~= 1 then return nil end
  if type(job.jid) == 'number' then job.jid = string.format('%.14g', job.jid) end
  if type(job.jid) ~= 'string' or job.jid == '' then return nil end
  return field, job
end

-- A length of time in a payload (s), at most 30 years; nil if it is none. NaN equals nothing.
local function length(value)
  local seconds = tonumber(value)
  if not seconds or seconds ~= seconds or seconds <= 0 then return nil end
  return math.min(seconds, 1e9)
end

-- Calls *act*, whose errors must not keep a job from being moved.
local function safely(act, ...)
  local done, failure = pcall(act, ...)
  if done then return end
  if type(failure) == 'table' then failure = failure.err end
  redis.log(redis.LOG_WARNING, 'jobd: what hangs on a job could not be changed: ' .. tostring(failure))
end

-- What the preludes after this one do to jobs with attachments: a table of functions for each feature.
-- ended(root, field, job, raw, state, detail) · moved_on(root, field, job, set) · came_back(root, field,
-- job) · kept_out(root, field, job), which returns the id of a job that keeps this one from coming
-- back · settle(root), once after what a script has told.
local features = {}
local function tell_features(event, ...)
  for _, feature in ipairs(features) do
    if feature[event] then safely(feature[event], ...) end
  end
end

-- After all that is told in a script.
local function settled(root) tell_features('settle', root) end

-- The key of the lock in some attachments, if there is one, whatever its type is.
local function lock_in(root, field)
  local lock = field.lock
  if type(lock) ~= 'table' or type(lock.key) ~= 'string' then return nil end
  return root .. 'jobd:lock:' .. lock.key, lock
end

-- The same, if it can be a lock.
local function lock_of(root, field)
  local key, lock = lock_in(root, field)
  if key and fits(key, 'hash') then return key, lock end
end

local function stamped(raw, now) return string.sub(raw, 1, -2) .. ',"enqueued_at":' .. now .. '}' end

-- Takes a lock for the job *jid*. *seconds* is a number, or nil without an upper bound. *stays*: it
-- outlives the job, until that time. *new*: no key is there.
local function hold(key, jid, seconds, now, stays, new)
  if not new then redis.call('HDEL', key, 'stays', 'set', 'score', 'first') end
  if stays then
    redis.call('HSET', key, 'jid', jid, 'at', now, 'seen', now, 'stays', 1)
  else
    redis.call('HSET', key, 'jid', jid, 'at', now, 'seen', now)
  end
  if seconds then
    redis.call('PEXPIRE', key, math.ceil(seconds * 1000))
  elseif not new then
    redis.call('PERSIST', key)
  end
end

-- The state of a job that waits, in *set* or in its queue.
local function waiting(set)
  if not set then return 'queued' end
  return set == 'retry' and 'retrying' or 'scheduled'
end

-- Stores what became of a job, and tells those who wait for it: in the message, too, if it is small.
local function finish(root, jid, seconds, state, detail, job)
  local key = root .. 'jobd:result:' .. jid
  seconds = length(seconds)
  if not seconds then return end
  local fields = {'state', state, 'at', server_time(), 'detail', detail}
  for _, name in ipairs({'created_at', 'enqueued_at'}) do
    if tonumber(job and job[name]) then
      fields[#fields + 1], fields[#fields + 2] = name, string.format('%.3f', job[name])
    end
  end
  -- A key of another type is left alone.
  local written = redis.pcall('HSET', key, unpack(fields))
  if type(written) == 'table' then return end
  redis.call('EXPIRE', key, math.ceil(seconds))
  -- Without the permission for it, those who wait look now and then.
  redis.pcall('PUBLISH', key, #detail <= 4096 and state .. ' ' .. detail or state)
end

-- Whether any lock keeps jobs out: most scripts find none.
local any_contested
local function is_contested(root)
  if any_contested == nil then
    local count = redis.pcall('ZCARD', root .. 'jobd:contested')
    any_contested = type(count) == 'number' and count > 0
  end
  return any_contested
end

-- Releases the lock at *key*, if the job *jid* holds it, or gives it to the job that waits for that.
local function release(root, key, jid)
  local lock = redis.pcall('HMGET', key, 'jid', 'again')
  if lock.err or lock[1] ~= jid then return end
  if lock[2] then
    lock = redis.call('HMGET', key, 'jid', 'again', 'again_jid', 'again_queue', 'again_seconds',
      'again_due')
  end
  if lock[2] then
    local now, queue = server_time(), root .. 'queue:' .. lock[4]
    local due = tonumber(lock[6]) or 0
    local wait = math.max(0, due - now)
    local listed = wait == 0 and fits(queue, 'list')
    if not listed and not fits(root .. 'schedule', 'zset') then
      return -- it stays with the lock, which keeps other jobs out, until there is a place
    end
    -- First what would push it again.
    redis.call('HDEL', key, 'again', 'again_jid', 'again_queue', 'again_seconds', 'again_due')
    redis.call('HSET', key, 'jid', lock[3])
    if listed then
      redis.call('SADD', root .. 'queues', lock[4])
      redis.call('LPUSH', queue, stamped(lock[2], now))
    else -- as in places.lua
      redis.call('ZADD', root .. 'schedule', math.max(due, now), lock[2])
    end
    local seconds = length(lock[5])
    hold(key, lock[3], seconds and seconds + wait, now)
  else
    redis.call('DEL', key)
  end
  if is_contested(root) then redis.call('ZREM', root .. 'jobd:contested', key) end
end

local function end_attached(root, raw, state, detail)
  local field, job = attachments_of(raw)
  if not field then return end
  tell_features('ended', root, field, job, raw, state, detail)
  local key, lock = lock_in(root, field)
  if key and lock['until'] ~= 'expiry' then release(root, key, job.jid) end
  if not field.result then return end
  if detail == '' and state == 'failed' then
    local failure = {class = job.error_class or 'Killed', message = job.error_message or 'a user killed it'}
    local read, written = pcall(cjson.encode, failure)
    detail = read and written or '{}'
  end
  finish(root, job.jid, field.result, state, detail, job)
end

-- The job has ended. *state*: 'done', 'failed', 'expired' or 'cancelled'. *detail*: JSON, or '' for
-- what the payload says. *more*: the script ends others and calls `settled` itself.
local function ended(root, raw, state, detail, more)
  safely(end_attached, root, raw, state, detail)
  if not more then settled(root) end
end

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
      redis.call('PEXPIRE', key, math.ceil(held_for(lock, score, now) * 1000))
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

-- Whether a feature keeps a job out, since the same job is somewhere else: its id, or nil.
local function is_elsewhere(root, raw)
  local field, job = attachments_of(raw)
  if not field then return nil end
  for _, feature in ipairs(features) do
    local holder = feature.kept_out and feature.kept_out(root, field, job)
    if holder then return holder end
  end
end

-- Before a job comes back that had ended: the id of another one that holds its lock, or nil.
local function kept_out(root, raw)
  local field, job = attachments_of(raw)
  if not field then return nil end
  local other = is_elsewhere(root, raw)
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

