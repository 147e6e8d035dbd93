-- Prelude of the scripts that end an execution: adds to the totals and to the day's counters.
-- A total and its day are two keys in a row: KEYS[at] and KEYS[at + 1].
local function count(at, amount, ttl)
  if amount == 0 then return end
  redis.call('INCRBY', KEYS[at], amount)
  redis.call('INCRBY', KEYS[at + 1], amount)
  redis.call('EXPIRE', KEYS[at + 1], ttl)
end
