-- Removes from the dead set what is too old or too much, the oldest first, but no more than a
-- thousand beyond *added*, the jobs that have just been put there: where somebody has made the set
-- smaller by a hundred thousand, nobody waits for all of them. Returns how many it removed. Put
-- before scripts that add to the set.
local function trim_dead(dead, oldest, size, added)
  local old = redis.call('ZCOUNT', dead, '-inf', oldest)
  local over = redis.call('ZCARD', dead) - (tonumber(size) - 1)
  local many = math.min(math.max(old, over), added + 1000)
  if many <= 0 then return 0 end
  return redis.call('ZREMRANGEBYRANK', dead, 0, many - 1)
end

