-- Sends a remote signal to processes that have a heartbeat.
--
-- KEYS  for each process: its hash · its list of signals
-- ARGV  1 signal · 2 its TTL (s)
-- Returns  how many of the processes exist.
local told = 0
for i = 1, #KEYS, 2 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('EXPIRE', KEYS[i + 1], ARGV[2]) -- allowed when memory is full; then the rest is as well
    redis.call('LPUSH', KEYS[i + 1], ARGV[1])
    redis.call('EXPIRE', KEYS[i + 1], ARGV[2])
    told = told + 1
  end
end
return told
