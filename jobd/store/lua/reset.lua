-- Resets counters to zero.
--
-- KEYS  the counters
-- Returns  how many.
redis.call('PERSIST', KEYS[1]) -- as in lease_clock.lua
for _, key in ipairs(KEYS) do redis.call('SET', key, 0) end
return #KEYS
