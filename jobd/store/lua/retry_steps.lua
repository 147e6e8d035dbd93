-- Pushes steps of a workflow again that have failed for good.
--
-- KEYS  1 queues · 2 dead
-- ARGV  1 id of the workflow, then for each step: number · its job as it is stored · the same to be
--       pushed
-- Returns  how many were pushed; -1 if there is no such workflow; -2 if it was cancelled.
-- The job leaves the dead set, if it is there.
local root = root_of(KEYS[1], 'queues')
local flow = workflow_at(root, ARGV[1])
redis.call('ZCARD', KEYS[2])
if not flow then return -1 end
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua: the rest is allowed on a full server
local undoing = redis.call('HGET', flow.hash, 'undoing')
if redis.call('HGET', flow.hash, 'cancelled') and not undoing then return -2 end
local pushed = 0
for i = 2, #ARGV, 3 do
  local n, before = ARGV[i], letter_of(flow, ARGV[i])
  local failed = string.find(before, '^[fxcFXC]$') and (not undoing or undoing == n)
  if failed and redis.call('HGET', flow.hash, 'p:' .. n) == ARGV[i + 1] then
    local raw = string.match(ARGV[i + 1], '^[^\n]*\n[^\n]*\n[^\n]*\n[^\n]*\n(.*)$')
    redis.call('ZREM', KEYS[2], raw)
    push_step(flow, n, ARGV[i + 2], revive_step(flow, n, before))
    pushed = pushed + 1
  end
end
return pushed
