-- Prelude of the scripts that add to the dead set: removes jobs that are too old or too many, the
-- oldest first, but at most a thousand more than *added*, the jobs just added: when its limit has been
-- lowered by a hundred thousand, no client waits for all of them. Returns how many it removed.
local function trim_dead(dead, oldest, size, added)
  local old = redis.call('ZCOUNT', dead, '-inf', oldest)
  local over = redis.call('ZCARD', dead) - (tonumber(size) - 1)
  local many = math.min(math.max(old, over), added + 1000)
  if many <= 0 then return 0 end
  return redis.call('ZREMRANGEBYRANK', dead, 0, many - 1)
end

