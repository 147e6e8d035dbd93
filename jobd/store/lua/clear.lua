-- Empties a queue or a sorted set of any size.
--
-- KEYS  1…3 trash (see trash.lua) · 4 queue list, or the set · 5 queues
-- ARGV  1…6 trash · 7 name of the queue, or '' for a set
-- Returns  how many jobs there were.
local jobs = redis.call(ARGV[7] == '' and 'ZCARD' or 'LLEN', KEYS[4])
if jobs > 0 then
  if ARGV[1] == '' then
    redis.call('UNLINK', KEYS[4])
  elseif redis.call('RENAMENX', KEYS[4], KEYS[3]) == 0 then
    error('the trash has a deletion with this id already: ' .. ARGV[1])
  end
end
if ARGV[7] ~= '' then redis.call('SREM', KEYS[5], ARGV[7]) end
put_in_trash(jobs)
return jobs
