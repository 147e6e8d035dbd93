-- Stores the schedules of an application as one of its versions has them, and which classes its
-- workers know.
--
-- KEYS  1 jobd:periodic · 2 jobd:periodic:apps · 3 jobd:classes · 4 jobd:classes:DIGEST ·
--       5 jobd:periodic:seen
-- ARGV  1 application · 2 how long ago its version was started or reloaded here (s) · 3 digest of its
--       schedules, '' if it has none · 4 digest of the classes · 5 for how long they count as known (s) · 6 what
--       follows: 'none', 'classes' (their names) or 'schedules': for each: id · what it depends on
--       when it is due · when it is due next (s) · the entry
-- Returns  {the server's time (s) · 'same', 'older' (a newer version has written), 'wanted' (the
--       schedules must follow) or 'stored' · 1 if the classes are known here, else 0 · how many
--       schedules were removed}.
-- Within a second two processes are of the same version: each has measured its age. A version from
-- the future is from before the server's clock was set back. Where something is stored, at most ten
-- applications of which nobody has heard for 30 days lose their schedules.
-- PERSIST changes nothing; it allows the writes after it when memory is full.
redis.call('PERSIST', KEYS[3])
local root = root_of(KEYS[1], 'jobd:periodic')
local now = tonumber(server_time())
local version = now - ARGV[2]
local kind = ARGV[6]
if kind == 'classes' then
  for i = 7, #ARGV, 1000 do
    redis.call('SADD', KEYS[4], unpack(ARGV, i, math.min(i + 999, #ARGV)))
  end
end
local classes = redis.call('EXISTS', KEYS[4])
if classes == 1 then
  redis.call('EXPIRE', KEYS[4], ARGV[5])
  redis.call('ZADD', KEYS[3], now + ARGV[5], ARGV[4])
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', KEYS[3], old)
  end
end
local stored = redis.call('HGET', KEYS[2], ARGV[1])
local read, before = pcall(cjson.decode, stored or '')
if not read or type(before) ~= 'table' or type(before.ids) ~= 'table' then before = {ids = {}} end
before.version = tonumber(before.version) or 0
if before.version > now then before.version = 0 end
if stored or ARGV[3] ~= '' then redis.call('ZADD', KEYS[5], now, ARGV[1]) end
local newer = version > before.version + 1
if not newer and before.digest == ARGV[3] then return {server_time(), 'same', classes, 0} end
if not newer and version < before.version - 1 then return {server_time(), 'older', classes, 0} end
if not stored and ARGV[3] == '' then return {server_time(), 'same', classes, 0} end
if kind ~= 'schedules' then return {server_time(), 'wanted', classes, 0} end
redis.call('ZCARD', KEYS[1])

local ids, known = {}, {}
for i = 7, #ARGV, 4 do
  local id, when, due, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = KEYS[1] .. ':' .. id
  if not fits(key, 'hash') then redis.call('DEL', key) end
  local had = redis.call('HMGET', key, 'when', 'own', 'paused')
  local again = had[1] ~= when or (had[2] and newer)
  if again then redis.call('ZADD', KEYS[1], had[3] and '+inf' or due, id) end
  if had[2] and again then redis.call('HDEL', key, 'own') end
  redis.call('HSET', key, 'when', when, 'entry', entry)
  redis.call('HSETNX', key, 'first', server_time())
  if not redis.call('ZSCORE', KEYS[1], id) then
    redis.call('ZADD', KEYS[1], had[3] and '+inf' or due, id)
  end
  ids[#ids + 1], known[id] = id, true
end
local removed = 0
local function forget(all)
  for _, id in ipairs(all) do
    if not known[id] then
      redis.call('ZREM', KEYS[1], id)
      redis.call('DEL', KEYS[1] .. ':' .. id, KEYS[1] .. ':' .. id .. ':ticks')
      removed = removed + 1
    end
  end
end
forget(before.ids)
for _, app in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now - 2592000, 'LIMIT', 0, 10)) do
  local understood, of_it = pcall(cjson.decode, redis.call('HGET', KEYS[2], app) or '')
  if understood and type(of_it) == 'table' and type(of_it.ids) == 'table' then forget(of_it.ids) end
  redis.call('HDEL', KEYS[2], app)
  redis.call('ZREM', KEYS[5], app)
end
if #ids == 0 then
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[5], ARGV[1])
else
  redis.call('HSET', KEYS[2], ARGV[1], cjson.encode({version = version, digest = ARGV[3], ids = ids}))
end
return {server_time(), 'stored', classes, removed}
