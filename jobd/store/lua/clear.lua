-- Empties a queue or a sorted set of any size.
--
-- KEYS  1…3 trash (see trash.lua) · 4 queue list, or the set · 5 queues · 6 jobd:departed
--       7 where cleared jobs go that are not in the trash
-- ARGV  1…6 trash · 7 name of the queue, or '' for a set
-- Returns  how many jobs there were.
-- What hangs on them is ended by a keeper in steps (see depart.lua): it finds them in the trash, or
-- at a key of their own, and in `jobd:departed` that they are there.
local jobs = redis.call(ARGV[7] == '' and 'ZCARD' or 'LLEN', KEYS[4])
if jobs > 0 then
  local dead = KEYS[4] == root_of(KEYS[5], 'queues') .. 'dead' -- those there have ended before
  local attached = not dead and redis.call('HEXISTS', KEYS[6], 'used') == 1
  local gone = KEYS[3]
  if ARGV[1] == '' and attached then
    gone = KEYS[7]
    redis.call('RENAME', KEYS[4], gone)
  elseif ARGV[1] == '' then
    redis.call('UNLINK', KEYS[4])
  elseif redis.call('RENAMENX', KEYS[4], KEYS[3]) == 0 then
    error('the trash has a deletion with this id already: ' .. ARGV[1])
  end
  if attached then redis.call('HSET', KEYS[6], gone, 0) end
end
if ARGV[7] ~= '' then redis.call('SREM', KEYS[5], ARGV[7]) end
put_in_trash(jobs)
return jobs
