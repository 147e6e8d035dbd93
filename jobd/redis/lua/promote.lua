-- Moves due jobs from a sorted set to their queues (and members that are no jobs to the dead set).
--
-- KEYS  1 schedule or retry · 2 queues · 3 dead · 4… queue lists
-- ARGV  1 now (s), for the dead set · 2 how many queues follow, then their names, in the order of
--       KEYS, then for each job: the member as it is in the set · position of its queue, from 1,
--       or 0 for the dead set · payload to push
-- Returns  {how many were still in the set and have been moved, the members that stay because the
--       key of their place is of another type …}; others were taken by another keeper or by a
--       person meanwhile.
-- The job is written to its new place before it leaves the old one: a script that fails half way
-- is not rolled back. PERSIST changes nothing; it lets the writes after it happen when memory is
-- full.
redis.call('PERSIST', KEYS[1])
local queues = tonumber(ARGV[2])
local open = {[0] = fits(KEYS[3], 'zset')}
for position = 1, queues do open[position] = fits(KEYS[3 + position], 'list') end
local result = {0}
for i = 3 + queues, #ARGV, 3 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    local position = tonumber(ARGV[i + 1])
    if not open[position] then
      result[#result + 1] = ARGV[i]
    else
      if position == 0 then
        redis.call('ZADD', KEYS[3], ARGV[1], ARGV[i + 2])
      else
        redis.call('SADD', KEYS[2], ARGV[2 + position])
        redis.call('LPUSH', KEYS[3 + position], ARGV[i + 2])
      end
      redis.call('ZREM', KEYS[1], ARGV[i])
      result[1] = result[1] + 1
    end
  end
end
return result
