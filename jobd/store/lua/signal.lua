-- Sends a remote signal to processes that have a heartbeat.
--
-- KEYS  for each process: its hash · its list of signals
-- ARGV  1 signal · 2 its TTL (s) · 3 message that tells a worker to look at once (see control.py)
--       4… channel of each process
-- Returns  how many of the processes exist.
-- PUBLISH comes last and under pcall: for a user without the channel it is an error, and the signal
-- is taken with the next heartbeat.
local told = {}
for i = 1, #KEYS, 2 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('EXPIRE', KEYS[i + 1], ARGV[2]) -- allowed when memory is full; then the rest is as well
    redis.call('LPUSH', KEYS[i + 1], ARGV[1])
    redis.call('EXPIRE', KEYS[i + 1], ARGV[2])
    told[#told + 1] = ARGV[(i + 7) / 2]
  end
end
for _, channel in ipairs(told) do redis.pcall('PUBLISH', channel, ARGV[3]) end
return #told
