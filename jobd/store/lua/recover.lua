-- Returns the jobs of a dead owner to the head of their queues, or to the dead set; those that are to
-- be cancelled end so (see cancelling.lua).
--
-- The first call condemns the owner (its score becomes the negative time), so that it can no longer
-- claim even if it is still alive. The owner is forgotten when it holds nothing and so much time has
-- passed that the server can no longer answer a blocking claim of it. An owner that is not listed and
-- holds nothing has exited cleanly, or was forgotten before.
--
-- KEYS  1 owners · 2 lease clock (see lease_clock.lua) · 3 in-flight hash · 4 names of its queues
--       5 queues · 6 dead · 7 schedule (see places.lua) · 8… for each queue concerned: queue list ·
--       claim list
-- ARGV  1 identity · 2 'dead' (certain) or 'expired' (only if its lease has expired)
--       3 seconds from the condemnation until the owner may be forgotten · 4 length of a lease (s)
--       5 now (s), for the dead set · 6 how many queues follow, then their names, in the order of
--       KEYS, then for each job, the newest first: its tag · position of its queue, from 1, or 0 for
--       the dead set · new payload, or '' to keep the bytes
-- Returns  {state, jobs moved, jobs handled}; large jobs are handled up to about 4 MB. The state is
--       'alive' (nothing changed), 'held' (call again with the jobs still in flight), 'condemned'
--       (empty, but too early to forget) or 'forgotten'.
local listed = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not listed and redis.call('HLEN', KEYS[3]) == 0 then return {'forgotten', 0, 0} end
local now = lease_clock(KEYS[2], KEYS[1], ARGV[4])
local lease = tonumber(listed or '0')
if ARGV[2] == 'expired' and lease > now then return {'alive', 0, 0} end
if lease >= 0 then
  lease = -now
  redis.call('ZADD', KEYS[1], lease, ARGV[1])
end

local moved = 0
local queues = tonumber(ARGV[6])
for i = 1, queues do
  local list, claimed = KEYS[6 + 2 * i], KEYS[7 + 2 * i]
  for _ = 1, redis.call('LLEN', claimed) do
    if not put_back(list, KEYS[7], redis.call('LINDEX', claimed, 0)) then break end
    redis.call('LPOP', claimed)
    redis.call('SADD', KEYS[5], ARGV[6 + i])
    moved = moved + 1
  end
end

local handled, room = 0, 4194304
for i = 7 + queues, #ARGV, 3 do
  if room <= 0 then break end
  handled = handled + 1
  local payload = redis.call('HGET', KEYS[3], ARGV[i])
  if payload then
    room = room - #payload
    if ARGV[i + 2] ~= '' then payload = ARGV[i + 2] end
    local position = tonumber(ARGV[i + 1])
    local done
    if cancelled(KEYS[3], ARGV[i], payload) then
      moved = moved + 1
    elseif position > 0 then
      done = put_back(KEYS[6 + 2 * position], KEYS[7], payload)
      if done then redis.call('SADD', KEYS[5], ARGV[6 + position]) end
    else
      done = fits(KEYS[6], 'zset')
      if done then redis.call('ZADD', KEYS[6], ARGV[5], payload) end
    end
    if done then
      redis.call('HDEL', KEYS[3], ARGV[i])
      if position == 0 then ended(root_of(KEYS[6], 'dead'), payload, 'failed', '') end
      moved = moved + 1
    end
  end
end

if redis.call('HLEN', KEYS[3]) > 0 then return {'held', moved, handled} end
if now + lease < tonumber(ARGV[3]) then return {'condemned', moved, handled} end
forget_owner(KEYS[2], KEYS[1], ARGV[1])
redis.call('DEL', KEYS[4], (requests_of(KEYS[3])))
return {'forgotten', moved, handled}
