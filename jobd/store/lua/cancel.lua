-- Requests that a job in flight be cancelled.
--
-- KEYS  1 in-flight hash of its owner
-- ARGV  1 its tag · 2 now (s), or 'force': the worker is replaced if the job does not end · 3 message
--       that tells the owner to look at once (see control.py) · 4 its channel
-- Returns  1 if that is new, 0 if it was requested before · 1, or 0 if the job was no longer in flight
--       (then nothing is changed).
-- PUBLISH comes last and under pcall, as in signal.lua.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return {0, 0} end
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua: it works on a full server
local requests = requests_of(KEYS[1])
local before = redis.call('HGET', requests, ARGV[1])
if before ~= 'force' then
  redis.call('HSET', requests, ARGV[1], ARGV[2])
end
redis.pcall('PUBLISH', ARGV[4], ARGV[3])
return {(not before or before ~= 'force' and ARGV[2] == 'force') and 1 or 0, 1}
