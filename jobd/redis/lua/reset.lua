-- Sets totals to zero.
--
-- KEYS  the counters
-- Returns  how many.
for _, key in ipairs(KEYS) do redis.call('SET', key, 0) end
return #KEYS
