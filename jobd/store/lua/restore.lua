-- Restores some of the deleted jobs.
--
-- KEYS  1 trash · 2 description of the deletion · 3 its jobs · 4 queue list, or the set
--       5 queues · 6 the set that the jobs were moved to, or the list of the queue; any if none
-- ARGV  1 id · 2 name of the queue, or '' for a set
--       3 'set' if the jobs were moved to another set: those no longer there have run or been deleted
--       in the meantime, and are not restored · 'queue' if a changed job was put into a queue: the
--       original replaces it, and stays in the trash if it is no longer there · ''
--       4 how many at most; fewer large ones, about 4 MB
--       5 the last known place of the changed job in its queue (see find_queued.lua) · 6 a text that
--       is in no queue · 7 how many jobs of a set have been left by the calls before, for their locks
-- Returns  how many were restored · how many are left · how many of these were left because other
--       jobs hold their locks by now · the id of one of those. None restored and some left otherwise
--       means that a changed job is no longer in its queue.
-- The jobs of a queue become the next ones to run, in their old order.
-- A keeper may be ending what hangs on them meanwhile, from the other end (see depart.lua), and has
-- counted how many it has handled there; what moves across that border is counted here.
redis.call('PERSIST', KEYS[4])
local restored, left, most, room = 0, 0, tonumber(ARGV[4]), 4194304
local root, kept, holder = root_of(KEYS[1], 'jobd:trash'), 0, ''
local lives = KEYS[4] ~= root .. 'dead' -- a dead job holds no lock

local departed = root .. 'jobd:departed'
local handled = fits(departed, 'hash') and tonumber(redis.call('HGET', departed, KEYS[3]) or nil)
local function handle(more)
  handled = handled + more
  redis.call('HINCRBY', departed, KEYS[3], more)
end

-- Whether another job keeps this one in the trash. *unended*: no keeper has handled it.
local function stays(job, unended)
  local other = lives and kept_out(root, job, unended)
  if other then kept, holder = kept + 1, other end
  return other
end

-- Whether a job may be restored. The job that replaced it is removed; *at_its_place*, if it is in the
-- queue where the first one was, that takes its place again.
local function may_return(job, at_its_place)
  if ARGV[3] == 'set' then return redis.call('ZSCORE', KEYS[6], job) end
  if ARGV[3] ~= 'queue' then return true end
  local pushed = redis.call('HGET', KEYS[2], 'pushed')
  local place = pushed and find_queued(KEYS[6], tonumber(ARGV[5]), pushed)
  if place and at_its_place then
    replace_queued(KEYS[6], place, pushed, job)
  elseif place then
    mark_queued(KEYS[6], place, pushed, ARGV[6])
    remove_marked(KEYS[6], ARGV[6])
  end
  return place
end

if ARGV[2] ~= '' and ARGV[3] == 'queue' then
  redis.call('LLEN', KEYS[4]) -- fail on a key of another type before anything is changed
  local job, same = redis.call('LINDEX', KEYS[3], 0), KEYS[4] == KEYS[6]
  if job and may_return(job, same) then
    if not same then redis.call('RPUSH', KEYS[4], job) end
    redis.call('SADD', KEYS[5], ARGV[2])
    redis.call('LPOP', KEYS[3])
    moved_on(root, job)
    restored = 1
  end
  left = redis.call('LLEN', KEYS[3])
elseif ARGV[2] ~= '' then
  redis.call('LLEN', KEYS[4]) -- fail on a key of another type before anything is changed
  local size = redis.call('LLEN', KEYS[3])
  for _ = 1, math.min(most, size) do
    local job = redis.call('LINDEX', KEYS[3], 0)
    if not job or room <= 0 then break end
    room = room - #job
    local unended = handled and handled < size
    if stays(job, unended) then
      redis.call('LMOVE', KEYS[3], KEYS[3], 'LEFT', 'RIGHT')
      if unended then -- it comes among those that have been handled
        ended(root, job, 'cancelled', '')
        handle(1)
      end
    else
      redis.call('LMOVE', KEYS[3], KEYS[4], 'LEFT', 'RIGHT')
      came_back(root, job)
      size, restored = size - 1, restored + 1
    end
  end
  if restored > 0 then redis.call('SADD', KEYS[5], ARGV[2]) end
  left = redis.call('LLEN', KEYS[3])
else
  redis.call('ZCARD', KEYS[4]) -- as above
  local size = redis.call('ZCARD', KEYS[3])
  for _ = 1, most do
    local rank = ARGV[7] + kept
    local job, score = unpack(redis.call('ZRANGE', KEYS[3], rank, rank, 'WITHSCORES'))
    if not job or room <= 0 then break end
    room = room - #job
    local unended = handled and rank < size - handled
    if not stays(job, unended) then
      local returns = may_return(job)
      if returns then
        redis.call('ZADD', KEYS[4], 'NX', score, job)
        if ARGV[3] == 'set' then redis.call('ZREM', KEYS[6], job) end
        if lives then came_back(root, job, string.sub(KEYS[4], #root + 1), score) end
        -- A dead step of a workflow that has been tried again meanwhile does not end that attempt.
        if not lives and not is_elsewhere(root, job) then ended(root, job, 'failed', '') end
        restored = restored + 1
      elseif ARGV[3] == 'queue' then
        break -- it stays in the trash
      end
      redis.call('ZREM', KEYS[3], job)
      if handled and not unended then handle(-1) end
      size = size - 1
    end
  end
  left = redis.call('ZCARD', KEYS[3])
end
if left == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
elseif restored > 0 then
  redis.call('HSET', KEYS[2], 'jobs', left)
end
return {restored, left, kept, holder}
