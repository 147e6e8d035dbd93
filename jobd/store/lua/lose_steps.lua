-- Fails steps of a workflow whose jobs are nowhere, as their policies say.
--
-- KEYS  1 queues
-- ARGV  1 id of the workflow · 2 how often its jobs had been moved (its field `moves`) when that was
--       found out · 3 why, as a failure that is kept (JSON) · 4… numbers of the steps
-- Returns  how many were pushed, and failed now; -1 if there is no such workflow, or a job of it has been
--       moved since then.
local root = root_of(KEYS[1], 'queues')
local flow = workflow_at(root, ARGV[1])
if not flow or (redis.call('HGET', flow.hash, 'moves') or '0') ~= ARGV[2] then return -1 end
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua: the rest is allowed on a full server
local lost = 0
for i = 4, #ARGV do
  local before = step_ends(flow, ARGV[i])
  if before then
    lost = lost + 1
    if fail_step(flow, ARGV[i], before, 'f', cjson.decode(ARGV[3])) then tell(flow, ARGV[i]) end
  end
end
settled(root)
return lost
