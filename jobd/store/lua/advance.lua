-- Goes on with a workflow of which more was to be done than one script does.
--
-- KEYS  1 queues
-- ARGV  1 id of the workflow
-- Returns  whether there is more to be done · whether it is cancelled and jobs of it are somewhere.
local root = root_of(KEYS[1], 'queues')
local flow = workflow_at(root, ARGV[1])
if not flow then
  redis.call('ZREM', root .. 'jobd:workflows:due', ARGV[1])
  return {0, 0}
end
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua: the rest is allowed on a full server
redis.call('ZREM', root .. 'jobd:workflows:due', ARGV[1])
local at = redis.call('HMGET', flow.hash, 'state', 'cancelled', 'live')
if at[1] ~= 'running' then return {0, 0} end
advance_workflow(flow, {})
at = redis.call('HMGET', flow.hash, 'state', 'cancelled', 'live')
local cancelling = at[1] == 'running' and at[2] and not redis.call('HGET', flow.hash, 'undoing')
  and tonumber(at[3]) > 0
local more = redis.call('ZSCORE', root .. 'jobd:workflows:due', ARGV[1])
if cancelling then redis.call('ZADD', root .. 'jobd:workflows:due', 'NX', server_time() + 5, ARGV[1]) end
return {more and 1 or 0, cancelling and 1 or 0}
