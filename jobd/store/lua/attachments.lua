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

-- The least and the greatest of some numbers; nil if they are so far apart that what lies between is
-- not worth reading at once, or not understood by the functions for strings.
local function span(numbers)
  local least, most = math.huge, 0
  for _, number in ipairs(numbers) do
    least, most = math.min(least, number), math.max(most, number)
  end
  if most - least >= math.min(4000, 16 * #numbers) then return nil end
  return least, most
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

-- What is done to jobs with some attachments: by the name of the attachment, a table of functions, and
-- what makes it. Each script is a program of its own, so that a prelude that few jobs need is run only for
-- those.
-- ended(root, field, job, raw, state, detail) · ended_together(root, id, numbers, state), of simple_ends.lua
-- pushed(root, field) · moved_on(root, field, job, set) · came_back(root, field, job) · kept_out(root,
-- field, unended), which returns what keeps the job from coming back · settle(root), once after what a
-- script has told.
local KINDS, features, makers = {'batch', 'node'}, {}, {}
local function feature_of(kind)
  if not features[kind] and makers[kind] then makers[kind]() end
  return features[kind] or {}
end

local function tell_features(event, root, field, ...)
  for _, kind in ipairs(KINDS) do
    local act = field[kind] and feature_of(kind)[event]
    if act then safely(act, root, field, ...) end
  end
end

-- After all that is told in a script.
local function settled(root)
  for _, kind in ipairs(KINDS) do
    if features[kind] then safely(features[kind].settle, root) end
  end
end

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

-- Lets a lock expire in so many *seconds*; nil: never. One in which a job waits never does, or that job
-- would be lost; it notes when it would have, for when none waits there any more.
local function bound(key, seconds, now)
  if redis.call('HEXISTS', key, 'again') == 1 then
    if seconds then redis.call('HSET', key, 'ends', now + seconds) else redis.call('HDEL', key, 'ends') end
    seconds = nil
  end
  if seconds then
    redis.call('PEXPIRE', key, math.ceil(seconds * 1000))
  else
    redis.call('PERSIST', key)
  end
end

-- Takes a lock for the job *jid*. *seconds* is a number, or nil without an upper bound. *stays*: it
-- outlives the job, until that time. *new*: no key is there.
local function hold(key, jid, seconds, now, stays, new)
  if not new then redis.call('HDEL', key, 'stays', 'set', 'score', 'first') end
  if stays then
    redis.call('HSET', key, 'jid', jid, 'at', now, 'seen', now, 'stays', 1)
  else
    redis.call('HSET', key, 'jid', jid, 'at', now, 'seen', now)
  end
  if not new then
    bound(key, seconds, now)
  elseif seconds then
    redis.call('PEXPIRE', key, math.ceil(seconds * 1000))
  end
end

-- No job waits in a lock any more.
local function forget_waiting(key)
  redis.call('HDEL', key, 'again', 'again_jid', 'again_queue', 'again_seconds', 'again_due', 'ends')
end

-- The state of a job that waits, in *set* or in its queue.
local function waiting(set)
  if not set then return 'queued' end
  return set == 'retry' and 'retrying' or 'scheduled'
end

-- After what became of a job has been *written*: keeps it for so long, and tells those who wait for it,
-- in the message, too, if it is small. A key of another type is left alone.
local function keep_result(key, seconds, state, detail, written)
  if type(written) == 'table' then return end
  redis.call('EXPIRE', key, math.ceil(seconds))
  -- Without the permission for it, those who wait look now and then.
  redis.pcall('PUBLISH', key, #detail <= 4096 and state .. ' ' .. detail or state)
end

-- Stores what became of a job.
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
  keep_result(key, seconds, state, detail, redis.pcall('HSET', key, unpack(fields)))
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
    forget_waiting(key)
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
