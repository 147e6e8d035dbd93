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

local function server_time()
  local time = redis.call('TIME')
  return string.format('%.6f', time[1] + time[2] / 1000000)
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
  if type(field) ~= 'table' or field.v ~= 1 or type(job.jid) ~= 'string' then return nil end
  return field, job
end

-- The key of the lock in some attachments, if there is one that a job holds until it ends or starts.
local function lock_of(root, field)
  local lock = field.lock
  if type(lock) ~= 'table' or type(lock.key) ~= 'string' then return nil end
  local key = root .. 'jobd:lock:' .. lock.key
  return fits(key, 'hash') and key or nil, lock
end

local function stamped(raw, now) return string.sub(raw, 1, -2) .. ',"enqueued_at":' .. now .. '}' end

-- Takes a lock for the job *jid*. *seconds* is a number, or nil without an upper bound. *stays*: it
-- outlives the job, until that time.
local function hold(key, jid, seconds, now, stays)
  redis.call('HSET', key, 'jid', jid, 'at', now, 'seen', now)
  if stays then redis.call('HSET', key, 'stays', 1) end
  if seconds then
    redis.call('PEXPIRE', key, math.ceil(math.min(seconds, 1e9) * 1000))
  else
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
  seconds = tonumber(seconds)
  if not seconds or seconds <= 0 or not fits(key, 'hash') then return end
  redis.call('HSET', key, 'state', state, 'at', server_time(), 'detail', detail)
  for _, name in ipairs({'created_at', 'enqueued_at'}) do
    if tonumber(job and job[name]) then redis.call('HSET', key, name, tostring(job[name])) end
  end
  redis.call('EXPIRE', key, math.ceil(math.min(seconds, 1e8)))
  -- Without the permission for it, those who wait look now and then.
  redis.pcall('PUBLISH', key, #detail <= 4096 and state .. ' ' .. detail or state)
end

-- Releases the lock at *key*, if the job *jid* holds it, or gives it to the job that waits for that.
local function release(root, key, jid)
  local lock = redis.call('HMGET', key, 'jid', 'again', 'again_jid', 'again_queue', 'again_seconds')
  if lock[1] ~= jid then return end
  if lock[2] then
    local now, queue = server_time(), root .. 'queue:' .. lock[4]
    if fits(queue, 'list') then
      redis.call('SADD', root .. 'queues', lock[4])
      redis.call('LPUSH', queue, stamped(lock[2], now))
    elseif fits(root .. 'schedule', 'zset') then -- as in places.lua
      redis.call('ZADD', root .. 'schedule', now, lock[2])
    else
      return -- it stays with the lock, which keeps other jobs out, until there is a place
    end
    hold(key, lock[3], tonumber(lock[5]), now)
    redis.call('HDEL', key, 'again', 'again_jid', 'again_queue', 'again_seconds', 'set', 'score')
  else
    redis.call('DEL', key)
  end
  if fits(root .. 'jobd:contested', 'zset') then redis.call('ZREM', root .. 'jobd:contested', key) end
end

-- The job has ended. *state*: 'done', 'failed', 'expired' or 'cancelled'. *detail*: JSON, or '' for
-- what the payload says.
local function ended(root, raw, state, detail)
  local field, job = attachments_of(raw)
  if not field then return end
  local key, lock = lock_of(root, field)
  if key and lock['until'] ~= 'expiry' then release(root, key, job.jid) end
  if not field.result then return end
  if detail == '' and state == 'failed' then
    local read, written = pcall(cjson.encode, {class = job.error_class, message = job.error_message})
    detail = read and written or '{}'
  end
  finish(root, job.jid, field.result, state, detail, job)
end

-- The job has moved to another place, where it lives on. *set* and *score*: of a sorted set, else nil.
local function moved_on(root, raw, set, score)
  local field, job = attachments_of(raw)
  if not field then return end
  local key = lock_of(root, field)
  if key and redis.call('HGET', key, 'jid') == job.jid then
    redis.call('HSET', key, 'seen', server_time())
    if set then
      redis.call('HSET', key, 'set', set, 'score', score)
    else
      redis.call('HDEL', key, 'set', 'score')
    end
  end
  local result = root .. 'jobd:result:' .. job.jid
  if field.result and fits(result, 'hash') and redis.call('EXISTS', result) == 1 then
    redis.call('HSET', result, 'state', waiting(set))
  end
end

-- Before a job comes back that had ended: the id of another one that holds its lock, or nil.
local function kept_out(root, raw)
  local field, job = attachments_of(raw)
  local key, lock = nil, nil
  if field then key, lock = lock_of(root, field) end
  if not key then return nil end
  local holder = redis.call('HGET', key, 'jid')
  return holder and holder ~= job.jid and holder or nil
end

-- The job has come back: it takes its lock, and its result is awaited again.
local function came_back(root, raw, set, score)
  local field, job = attachments_of(raw)
  if not field then return end
  local key, lock = lock_of(root, field)
  if key then
    hold(key, job.jid, tonumber(lock.seconds), server_time(), lock['until'] == 'expiry')
    if set then redis.call('HSET', key, 'set', set, 'score', score) end
  end
  local result = root .. 'jobd:result:' .. job.jid
  if field.result and fits(result, 'hash') then
    redis.call('DEL', result)
    redis.call('HSET', result, 'state', waiting(set))
    redis.call('EXPIRE', result, 7776000)
  end
end

