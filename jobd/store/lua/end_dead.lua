-- Ends jobs that a program which knows no attachments has put into the dead set: they have failed.
--
-- KEYS  1 queues · 2 dead
-- ARGV  1… payloads
-- Returns  how many were in the dead set. One that has ended already ends once.
redis.call('PERSIST', KEYS[2]) -- as in lease_clock.lua: the rest is allowed on a full server
local root, dead = root_of(KEYS[1], 'queues'), 0
for _, raw in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[2], raw) then
    dead = dead + 1
    ended(root, raw, 'failed', '', true)
  end
end
settled(root)
return dead
