-- Returns the jobs of a dead owner to the head of their queues, or to the dead set.
--
-- The first call condemns the owner (a score below zero: the time of it), so that it can claim
-- nothing more even if it is alive after all. The owner is forgotten when it holds nothing and
-- so much time has passed that no blocking claim of it can still be answered by the server. One
-- that is not listed and holds nothing has left in good order, or was forgotten before.
--
-- KEYS  1 owners · 2 in-flight hash · 3 names of its queues · 4 queues · 5 dead
--       6… for each queue concerned: queue list · claim list
-- ARGV  1 identity · 2 'dead' (certain) or 'expired' (only if its lease has ended)
--       3 seconds from the condemnation until the owner may be forgotten · 4 now (s), for the
--       dead set · 5 how many queues follow, then their names, in the order of KEYS
--       then for each job, the newest first: its tag · position of its queue, from 1, or 0 for
--       the dead set · new payload, or '' to keep the bytes
-- Returns  {state, jobs moved}; state is 'alive' (nothing changed), 'held' (call again with what
--       is still in flight), 'condemned' (empty, but too early to forget) or 'forgotten'.
local now = tonumber(redis.call('TIME')[1])
local listed = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not listed and redis.call('HLEN', KEYS[2]) == 0 then return {'forgotten', 0} end
local lease = tonumber(listed or '0')
if ARGV[2] == 'expired' and lease > now then return {'alive', 0} end
redis.call('PERSIST', KEYS[1]) -- as in give_back.lua
if lease >= 0 then
  lease = -now
  redis.call('ZADD', KEYS[1], lease, ARGV[1])
end

local moved = 0
local queues = tonumber(ARGV[5])
for i = 1, queues do
  local list, claimed = KEYS[4 + 2 * i], KEYS[5 + 2 * i]
  for _ = 1, redis.call('LLEN', claimed) do
    redis.call('LMOVE', claimed, list, 'LEFT', 'RIGHT')
    redis.call('SADD', KEYS[4], ARGV[5 + i])
    moved = moved + 1
  end
end

for i = 6 + queues, #ARGV, 3 do
  local payload = redis.call('HGET', KEYS[2], ARGV[i])
  if payload then
    if ARGV[i + 2] ~= '' then payload = ARGV[i + 2] end
    local position = tonumber(ARGV[i + 1])
    if position == 0 then
      redis.call('ZADD', KEYS[5], ARGV[4], payload)
    else
      redis.call('RPUSH', KEYS[4 + 2 * position], payload)
      redis.call('SADD', KEYS[4], ARGV[5 + position])
    end
    redis.call('HDEL', KEYS[2], ARGV[i])
    moved = moved + 1
  end
end

if redis.call('HLEN', KEYS[2]) > 0 then return {'held', moved} end
if now + lease < tonumber(ARGV[3]) then return {'condemned', moved} end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[3])
return {'forgotten', moved}
