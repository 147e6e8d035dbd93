-- Prelude after attachments.lua: the steps of workflows.
--
-- A workflow is a hash, `jobd:workflow:ID`, with fields for what was planned (see jobd/graphs/plan.py):
-- `s:N` the steps after step N, `w:N` how many steps N still waits for (without it: one), `p:N` the job
-- of N as long as it is in no other place (four lines, then the payload), `f:N` what its failure means,
-- `n:N` its name;
-- `undo`, `oops`: the steps that undo others and the one that is told of the first failure; and for
-- what has happened: `state`, `live` (steps whose jobs are somewhere), `done`, `failed` (those that keep
-- others from running), `passed` (those that do not), `cancelled`, `undoing`, `first` (the first
-- failure), `moves` (how often a job has been moved), `r:N` the result of N or its failure (JSON).
-- `jobd:steps:ID` has a letter for each step: `.` waits · `p` pushed · `d` done · `f`, `x`, `c` failed,
-- expired, cancelled. A capital letter: those after it have been told already. Only a pushed step
-- ends, so a repeated end has no effect.
-- `jobd:ready:ID` lists what those 100 steps have not done that a script looks at; a keeper finds it by
-- `jobd:workflows:due`.
local workflow_room = 100
local WORKFLOW_KEPT, FAILURE_KEPT = 86400, 15552000

-- What a script knows of the workflows that it has looked at: many of its jobs may be of one.
local workflows_seen = {}

local function workflow_at(root, id)
  local flow = workflows_seen[id]
  if flow then return flow end
  flow = {root = root, id = id, hash = root .. 'jobd:workflow:' .. id,
    steps = root .. 'jobd:steps:' .. id, ready = root .. 'jobd:ready:' .. id}
  -- Keys of other types are errors here, not in the middle of a change.
  local read, ready = redis.pcall('HMGET', flow.hash, 'state', 'cancelled', 'undoing', 'oops'), nil
  if not read[1] then return nil end
  ready = redis.pcall('LLEN', flow.ready)
  if not (type(ready) == 'number' and fits(flow.steps, 'string')
      and fits(root .. 'queues', 'set') and fits(root .. 'jobd:workflows', 'zset')
      and fits(root .. 'jobd:workflows:ended', 'zset')
      and fits(root .. 'jobd:workflows:due', 'zset')) then
    return nil
  end
  flow.is_ready, flow.special = ready > 0, {read[2], read[3], read[4]}
  workflows_seen[id] = flow
  return flow
end

-- Whether it is cancelled, which of its steps undoes another one now, and which is told of the first
-- failure.
local function special_of(flow)
  if not flow.special then
    flow.special = redis.call('HMGET', flow.hash, 'cancelled', 'undoing', 'oops')
  end
  return flow.special
end

-- Counts the jobs of it that are somewhere.
local function count_live(flow, by) flow.live = redis.call('HINCRBY', flow.hash, 'live', by) end

-- The workflow of a job, and the number of its step.
local function workflow_of(root, field)
  local node = field.node
  if type(node) ~= 'table' or type(node.id) ~= 'string' or type(node.n) ~= 'number' then return nil end
  -- Below 0, Redis counts from the end.
  if node.n < 0 or node.n > 1e15 or node.n % 1 ~= 0 then return nil end
  return workflow_at(root, node.id), string.format('%d', node.n)
end

local function letter_of(flow, n) return redis.call('GETRANGE', flow.steps, n, n) end
local function set_letter(flow, n, letter) redis.call('SETRANGE', flow.steps, n, letter) end

-- Something will happen in a workflow that had come to rest.
local function resume_workflow(flow)
  if redis.call('HGET', flow.hash, 'state') == 'running' then return end
  redis.call('HSET', flow.hash, 'state', 'running')
  redis.call('HDEL', flow.hash, 'ended_at')
  redis.call('PERSIST', flow.hash)
  redis.call('PERSIST', flow.steps)
  redis.call('ZREM', flow.root .. 'jobd:workflows:ended', flow.id)
end

-- No job of it is anywhere.
local function settle_workflow(flow, state, kept)
  local now, ended = server_time(), flow.root .. 'jobd:workflows:ended'
  redis.call('HSET', flow.hash, 'state', state, 'ended_at', now)
  redis.call('EXPIRE', flow.hash, kept)
  redis.call('EXPIRE', flow.steps, kept)
  redis.call('ZREM', flow.root .. 'jobd:workflows:due', flow.id)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', now, 'LIMIT', 0, 10)) do
    redis.call('ZREM', ended, id)
    redis.call('ZREM', flow.root .. 'jobd:workflows', id)
  end
  redis.call('ZADD', ended, now + kept, flow.id)
  redis.pcall('PUBLISH', flow.hash, state)
end

-- Pushes the job of a step, as it is stored.
local function push_step(flow, n, stored, letter)
  local queue, jid, expires, keep, raw =
    string.match(stored, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
  if not raw then return end
  local now = server_time()
  expires, keep = length(expires), length(keep)
  if expires then -- the field `jobd` is the last one
    raw = string.sub(raw, 1, -3) .. ',"expires_at":' .. string.format('%.6f', now + expires) .. '}}'
  end
  redis.call('HDEL', flow.hash, 'p:' .. n)
  set_letter(flow, n, letter)
  count_live(flow, 1)
  local list = flow.root .. 'queue:' .. queue
  if type(redis.pcall('LPUSH', list, stamped(raw, now))) == 'number' then
    redis.call('SADD', flow.root .. 'queues', queue)
  else -- another type: as in places.lua
    redis.call('ZADD', flow.root .. 'schedule', now, raw)
  end
  if keep then
    local key = flow.root .. 'jobd:result:' .. jid
    if type(redis.pcall('HSET', key, 'state', 'queued')) ~= 'table' then
      redis.call('EXPIRE', key, FAILURE_KEPT / 2)
    end
  end
end

-- A step that waits for so many steps less; if these were the last, it begins. Returns whether it is a
-- joint, which is done at once.
local function let_step(flow, n, by)
  local read = redis.call('HMGET', flow.hash, 'w:' .. n, 'p:' .. n)
  local waits, stored = read[1], read[2]
  if waits then
    if redis.call('HINCRBY', flow.hash, 'w:' .. n, -by) > 0 then return false end
    redis.call('HDEL', flow.hash, 'w:' .. n)
  end
  if letter_of(flow, n) ~= '.' then return false end
  if stored then
    push_step(flow, n, stored, 'p')
    return false
  end
  set_letter(flow, n, 'd')
  return true
end

-- What is done when no job of it is anywhere and no step is ready.
local function rest_workflow(flow)
  local at = redis.call('HMGET', flow.hash, 'cancelled', 'failed', 'undo', 'undoing')
  if not at[1] then
    local failed = (tonumber(at[2]) or 0) > 0
    settle_workflow(flow, failed and 'failed' or 'done', failed and FAILURE_KEPT or WORKFLOW_KEPT)
    return
  end
  if at[4] and letter_of(flow, at[4]) ~= 'd' then
    settle_workflow(flow, 'failed', FAILURE_KEPT) -- what undoes a step has failed
    return
  end
  local undo = at[3] or ''
  for _ = 1, 100 do
    local of, n, others = string.match(undo, '^(%d+):(%d+),?(.*)$')
    if not of then
      local failed = at[1] == 'step'
      settle_workflow(flow, failed and 'failed' or 'cancelled', failed and FAILURE_KEPT or WORKFLOW_KEPT)
      return
    end
    undo = others
    local stored = letter_of(flow, of) == 'd' and redis.call('HGET', flow.hash, 'p:' .. n)
    if stored then
      redis.call('HSET', flow.hash, 'undo', undo, 'undoing', n)
      flow.special = nil
      resume_workflow(flow)
      push_step(flow, n, stored, 'p')
      return
    end
  end
  redis.call('HSET', flow.hash, 'undo', undo)
  redis.call('ZADD', flow.root .. 'jobd:workflows:due', server_time(), flow.id)
end

-- Tells the step after each of those that have only one; returns those that have several.
local function tell_followers(flow, told)
  local counts, order, todo = {}, {}, {}
  for first = 1, #told, 100 do
    local names = {}
    for i = first, math.min(first + 99, #told) do names[#names + 1] = 's:' .. told[i] end
    for i, after in ipairs(redis.call('HMGET', flow.hash, unpack(names))) do
      if after and string.find(after, ',', 1, true) then
        todo[#todo + 1] = {told[first + i - 1], 0}
      elseif after then
        if not counts[after] then order[#order + 1] = after end
        counts[after] = (counts[after] or 0) + 1
      end
    end
  end
  for _, one in ipairs(order) do
    if let_step(flow, one, counts[one]) then todo[#todo + 1] = {one, 0} end
  end
  return todo
end

-- Goes on: tells the steps after those of *told*, and what is left from before. At most 100 steps in
-- one script, and two for each job that ends in it.
local function advance_workflow(flow, told)
  local todo, own = tell_followers(flow, told), 2 * math.max(1, #told)
  while workflow_room > 0 or own > 0 do
    local entry = table.remove(todo)
    if not entry then
      local left = flow.is_ready and workflow_room > 0 and redis.call('LPOP', flow.ready)
      if not left then break end
      local of, offset = string.match(left, '^(.*):(%d+)$')
      entry = {of, tonumber(offset)}
    end
    local place, offset = 0, entry[2]
    local after = redis.call('HGET', flow.hash, 's:' .. entry[1]) or ''
    -- The list is only read from where it was left: `offset` is in characters.
    while workflow_room > 0 or own > 0 do
      local _, last, one = string.find(after, '(%d+),?', offset + 1)
      if not last then
        place = nil
        break
      end
      offset = last
      if own > 0 then own = own - 1 else workflow_room = workflow_room - 1 end
      if let_step(flow, one, 1) then todo[#todo + 1] = {one, 0} end
    end
    if place and offset < #after then table.insert(todo, 1, {entry[1], offset}) end
  end
  for _, entry in ipairs(todo) do
    redis.call('RPUSH', flow.ready, entry[1] .. ':' .. string.format('%d', entry[2]))
    flow.is_ready = true
  end
  if flow.is_ready then flow.is_ready = redis.call('EXISTS', flow.ready) == 1 end
  if flow.is_ready then
    redis.call('ZADD', flow.root .. 'jobd:workflows:due', 'NX', server_time(), flow.id)
  else
    if not flow.live then count_live(flow, 0) end
    if flow.live <= 0 then rest_workflow(flow) end
  end
end

-- Nothing begins any more, except what undoes steps. A keeper cancels the jobs that are there.
local function cancel_workflow(flow, by)
  if redis.call('HGET', flow.hash, 'cancelled') then return end
  flow.special, flow.is_ready = nil, false
  redis.call('HSET', flow.hash, 'cancelled', by, 'cancelled_at', server_time())
  redis.call('DEL', flow.ready)
  redis.call('ZADD', flow.root .. 'jobd:workflows:due', server_time(), flow.id)
end

-- A failure as it is kept: class and message, which is cut.
local function failure_of(job, state, detail)
  local read, told = pcall(cjson.decode, detail ~= '' and detail or '{}')
  told = read and type(told) == 'table' and told or {}
  local failure = {state = state, class = told.class or job.error_class,
    message = told.message or job.error_message}
  for _, name in ipairs({'class', 'message'}) do
    local text = failure[name]
    if type(text) ~= 'string' then
      failure[name] = nil
    elseif #text > 1000 then -- never within a character
      failure[name] = string.gsub(string.sub(text, 1, 1000), '[\192-\255]?[\128-\191]*$', '')
    end
  end
  return failure
end

-- A pushed step has failed for good. *stored*: its job, if that is still known, so that it can be pushed
-- again. Returns whether those after it are to be told.
local function fail_step(flow, n, before, letter, failure, stored)
  local planned = redis.call('HMGET', flow.hash, 'f:' .. n, 'n:' .. n)
  local policy = planned[1]
  failure.name = planned[2] or nil
  local encoded, text = pcall(cjson.encode, failure)
  redis.call('HSET', flow.hash, 'r:' .. n, encoded and text or '{"state":"' .. failure.state .. '"}')
  if stored then redis.call('HSET', flow.hash, 'p:' .. n, stored) end
  if policy == 'continue' then
    set_letter(flow, n, string.upper(letter))
    redis.call('HINCRBY', flow.hash, 'passed', 1)
    return before ~= 'P'
  end
  set_letter(flow, n, letter)
  redis.call('HINCRBY', flow.hash, 'failed', 1)
  if redis.call('HSETNX', flow.hash, 'first', n) == 1 and not redis.call('HGET', flow.hash, 'cancelled') then
    local oops = redis.call('HGET', flow.hash, 'oops')
    local stored = oops and redis.call('HGET', flow.hash, 'p:' .. oops)
    if stored and oops ~= n then push_step(flow, oops, stored, 'p') end
  end
  if policy == 'cancel' then cancel_workflow(flow, 'step') end
  return false
end

local workflow_feature, workflows_ended = {}, {}

-- Jobs of a workflow end in this script.
local function begin_ends(flow)
  if flow.ended then return end
  flow.ended, flow.done, flow.told = 0, 0, {}
  workflows_ended[#workflows_ended + 1] = flow
end

-- The job of a step ends, see `settle`; returns the letter of the step, nil if it was not pushed.
local function step_ends(flow, n)
  local before = letter_of(flow, n)
  if before ~= 'p' and before ~= 'P' then return nil end
  begin_ends(flow)
  flow.ended = flow.ended + 1
  return before
end

-- Those after a step are told.
local function tell(flow, n)
  if not special_of(flow)[1] then flow.told[#flow.told + 1] = n end
end

function workflow_feature.ended(root, field, job, raw, state, detail)
  if not field.node then return end
  local flow, n = workflow_of(root, field)
  local before = flow and step_ends(flow, n)
  if not before then return end
  local at = special_of(flow)
  if state == 'done' then
    set_letter(flow, n, 'd')
    if at[2] ~= n and at[3] ~= n then flow.done = flow.done + 1 end
    if detail ~= '' and detail ~= '{}' then redis.call('HSET', flow.hash, 'r:' .. n, detail) end
    if before ~= 'P' then tell(flow, n) end
    return
  end
  local queue = type(job.queue) == 'string' and job.queue or 'default'
  local stored = queue .. '\n' .. job.jid .. '\n\n' .. (length(field.result) or '') .. '\n' .. raw
  local letter = ({failed = 'f', expired = 'x'})[state] or 'c'
  if fail_step(flow, n, before, letter, failure_of(job, state, detail), stored) then tell(flow, n) end
end

-- Reconciliation must know that a script of ours has had the job of a step in its hands.
function workflow_feature.moved_on(root, field)
  local flow = field.node and workflow_of(root, field)
  if flow then redis.call('HINCRBY', flow.hash, 'moves', 1) end
end

-- Steps are done that have returned nothing: many that are close to one another are read and written
-- at once.
function workflow_feature.ended_together(root, id, numbers)
  local least, most = span(numbers)
  local flow = least and workflow_at(root, id)
  if not flow then
    for _, n in ipairs(numbers) do
      workflow_feature.ended(root, {node = {id = id, n = n}}, nil, '', 'done', '')
    end
    return
  end
  local letters, changed = {string.byte(redis.call('GETRANGE', flow.steps, least, most), 1, -1)}, false
  local at = special_of(flow)
  for _, number in ipairs(numbers) do
    local letter = letters[number - least + 1]
    if letter == 112 or letter == 80 then -- p, P
      begin_ends(flow)
      changed, letters[number - least + 1] = true, 100 -- d
      flow.ended = flow.ended + 1
      local n = string.format('%d', number)
      if at[2] ~= n and at[3] ~= n then flow.done = flow.done + 1 end
      if letter == 112 then tell(flow, n) end
    end
  end
  if changed then redis.call('SETRANGE', flow.steps, least, string.char(unpack(letters))) end
end

-- After all jobs that end in a script: many may be of one workflow.
function workflow_feature.settle()
  local ended = workflows_ended
  workflows_ended = {}
  for _, flow in ipairs(ended) do
    if flow.done > 0 then redis.call('HINCRBY', flow.hash, 'done', flow.done) end
    count_live(flow, -flow.ended)
    local told = special_of(flow)[1] and {} or flow.told
    flow.ended = nil
    advance_workflow(flow, told)
  end
end

-- A job that had failed is somewhere again.
local function revive_step(flow, n, before)
  local told = string.upper(before) == before
  redis.call('HINCRBY', flow.hash, told and 'passed' or 'failed', -1)
  redis.call('HINCRBY', flow.hash, 'moves', 1)
  redis.call('HDEL', flow.hash, 'p:' .. n, 'r:' .. n)
  resume_workflow(flow)
  return told and 'P' or 'p'
end

function workflow_feature.came_back(root, field)
  if not field.node then return end
  local flow, n = workflow_of(root, field)
  local before = flow and letter_of(flow, n)
  if not before then return end
  if not string.find(before, '^[fxcFXC]$') then return workflow_feature.moved_on(root, field) end
  set_letter(flow, n, revive_step(flow, n, before))
  count_live(flow, 1)
end

-- A step that is done, or whose job is somewhere, does not come back: it would run twice. Nor does one
-- of a workflow that was cancelled. What keeps it out is the workflow.
function workflow_feature.kept_out(root, field, unended)
  if not field.node then return nil end
  local flow, n = workflow_of(root, field)
  local letter = flow and letter_of(flow, n)
  if not letter or letter == '' then return nil end
  local undoing = special_of(flow)
  local out = string.find(letter, unended and '^[pP]$' or '^[fxcFXC]$')
  if out and (not undoing[1] or undoing[2] == n) then return nil end
  return 'workflow:' .. field.node.id
end

features.node = workflow_feature

