-- Cancels a workflow: no step begins any more, except those that undo others.
--
-- KEYS  1 queues
-- ARGV  1 id of the workflow
-- Returns  1; 0 if it has ended or was cancelled before (then nothing is changed); -1 if there is none.
-- The jobs of it that are somewhere are cancelled by the caller; a keeper does what it leaves.
local root = root_of(KEYS[1], 'queues')
local flow = workflow_at(root, ARGV[1])
if not flow then return -1 end
local at = redis.call('HMGET', flow.hash, 'state', 'cancelled')
if at[2] or (at[1] ~= 'running' and at[1] ~= 'failed') then return 0 end
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua: the rest is allowed on a full server
resume_workflow(flow)
cancel_workflow(flow, 'user')
advance_workflow(flow, {})
return 1
