-- Stores a workflow and pushes its first steps.
--
-- KEYS  1 queues · 2 hash of the workflow · 3 its steps · 4 hash in which its fields have been put
--       before, or any if they come here · 5 jobd:workflows · 6 jobd:departed
-- ARGV  1 id · 2 how many steps it has · 3 1 if the fields are in KEYS[4], else 0 · 4 when it was
--       created (s), of the client · 5… fields of the hash and their values
-- Returns  whether it was stored: 0 if there is one with this id already (then nothing is changed) ·
--       1 if there are further first steps, for advance.lua.
-- The types of all keys are checked first. The first write is one that a full server refuses, unless
-- all the fields are there already.
local root = root_of(KEYS[1], 'queues')
redis.call('SISMEMBER', KEYS[1], '')
redis.call('ZCARD', KEYS[5])
redis.call('HEXISTS', KEYS[6], 'used')
if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then
  if ARGV[3] == '1' then redis.call('UNLINK', KEYS[4]) end
  return {0, 0}
end
if ARGV[3] == '1' then
  if redis.call('EXISTS', KEYS[4]) == 0 then return redis.error_reply('ERR jobd: the fields of the workflow have expired') end
  redis.call('RENAME', KEYS[4], KEYS[2])
  redis.call('PERSIST', KEYS[2])
end
for i = 5, #ARGV, 200 do redis.call('HSET', KEYS[2], unpack(ARGV, i, math.min(i + 199, #ARGV))) end
redis.call('HSET', KEYS[2], 'state', 'running', 'total', ARGV[2], 'live', 0)
redis.call('SET', KEYS[3], string.rep('.', tonumber(ARGV[2])))
redis.call('ZADD', KEYS[5], ARGV[4], ARGV[1])
redis.call('HSETNX', KEYS[6], 'used', 1)
local flow = workflow_at(root, ARGV[1])
advance_workflow(flow, {'start'})
return {1, redis.call('EXISTS', flow.ready)}
