-- Adds steps after a running one.
--
-- KEYS  1 queues
-- ARGV  1 id of the workflow · 2 number of the running step · 3 which addition of that step this is,
--       from 1 · 4 how many steps the workflow has · 5 how many are added · 6 number of the joint after
--       which the steps go on that have waited for the running one, or '' if they do not wait for the
--       new ones · 7 the first of the new ones, as a list · 8 what undoes which of them, or ''
--       · 9 how many of them run something · 10… fields of the hash and their values
-- Returns  0; how many steps there are, if that is not ARGV[4] (then nothing is changed); -1 if there is
--       no such workflow, -2 if the step does not run, -3 if this has been done before.
local root = root_of(KEYS[1], 'queues')
local flow, n = workflow_at(root, ARGV[1]), ARGV[2]
if not flow then return -1 end
local added = tonumber(redis.call('HGET', flow.hash, 'a:' .. n) or 0)
if added >= tonumber(ARGV[3]) then return -3 end
if letter_of(flow, n) ~= 'p' then return -2 end
local total = tonumber(redis.call('HGET', flow.hash, 'total'))
if total ~= tonumber(ARGV[4]) then return total end
local after = redis.call('HGET', flow.hash, 's:' .. n)
for i = 10, #ARGV, 200 do redis.call('HSET', flow.hash, unpack(ARGV, i, math.min(i + 199, #ARGV))) end
redis.call('HINCRBY', flow.hash, 'size', ARGV[9])
redis.call('APPEND', flow.steps, string.rep('.', tonumber(ARGV[5])))
redis.call('HSET', flow.hash, 'total', string.format('%d', total + ARGV[5]), 'a:' .. n, ARGV[3])
if ARGV[6] == '' then
  redis.call('HSET', flow.hash, 's:' .. n, after and after .. ',' .. ARGV[7] or ARGV[7])
else
  redis.call('HSET', flow.hash, 's:' .. n, ARGV[7])
  if after then redis.call('HSET', flow.hash, 's:' .. ARGV[6], after) end
end
if ARGV[8] ~= '' then
  local undo = redis.call('HGET', flow.hash, 'undo') or ''
  redis.call('HSET', flow.hash, 'undo', undo == '' and ARGV[8] or ARGV[8] .. ',' .. undo)
end
return 0
