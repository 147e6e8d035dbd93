-- Files jobs delivered by a blocking claim: moves them from the owner's claim list to in flight.
--
-- KEYS  1 owners · 2 in-flight hash · 3 claim list · 4 paused queues · 5 queue list · 6 schedule
--       (see places.lua)
-- ARGV  1 identity · 2 sequence number of the first job · 3 name of the queue · 4 '1' if the owner
--       wants no more jobs, else '0'
-- Returns  the payloads filed, oldest first; none if nothing was delivered, or if the queue has been
--       paused in the meantime or no more are wanted: then they are put back at its head; false if
--       something was delivered and the owner holds no lease.
-- Most waits end without a job, so that is looked at first.
if redis.call('EXISTS', KEYS[3]) == 0 then return {} end
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not lease or tonumber(lease) <= 0 then return false end

if ARGV[4] == '1' or redis.call('SISMEMBER', KEYS[4], ARGV[3]) == 1 then
  redis.call('PERSIST', KEYS[3]) -- as in lease_clock.lua
  for _ = 1, redis.call('LLEN', KEYS[3]) do
    if not put_back(KEYS[5], KEYS[6], redis.call('LINDEX', KEYS[3], 0)) then break end
    redis.call('LPOP', KEYS[3])
  end
  return {}
end

-- A claim list holds one job, or a few after a lost connection; the limit is only a safeguard.
local payloads = redis.call('RPOP', KEYS[3], 100) or {}
local sequence = tonumber(ARGV[2])
for i, payload in ipairs(payloads) do
  local tag = string.format('%.0f:%s', sequence + i - 1, ARGV[3])
  local answer = redis.pcall('HSET', KEYS[2], tag, payload)
  if type(answer) == 'table' then -- as in claim.lua
    for j = #payloads, i, -1 do redis.call('RPUSH', KEYS[3], payloads[j]) end
    return answer
  end
end
return payloads
