-- Takes the jobs that are next to run, deletes some, and moves the others to the tail of the queue.
--
-- KEYS  1…3 trash (see trash.lua) · 4 queue list
-- ARGV  1…6 trash · then for each job, the next to run first: '1' to delete it, else '0' · payload
-- Returns  how many were deleted · how many were moved; jobs that a worker has taken in the meantime
--       are neither · how many jobs were pushed since others ended.
redis.call('PERSIST', KEYS[4]) -- as in lease_clock.lua: a full server can be emptied
local root, deleted, kept = root_of(KEYS[1], 'jobd:trash'), {}, 0
for i = 7, #ARGV, 2 do
  if redis.call('LINDEX', KEYS[4], -1) == ARGV[i + 1] then
    if ARGV[i] == '0' then
      redis.call('LMOVE', KEYS[4], KEYS[4], 'RIGHT', 'LEFT')
      kept = kept + 1
    else
      if ARGV[1] ~= '' then redis.call('LPUSH', KEYS[3], ARGV[i + 1]) end
      redis.call('RPOP', KEYS[4])
      deleted[#deleted + 1] = ARGV[i + 1]
    end
  end
end
-- What is pushed for these, as the callback of a batch, goes to the tail of the queue.
local size = redis.call('LLEN', KEYS[4])
for _, payload in ipairs(deleted) do ended(root, payload, 'cancelled', '') end
put_in_trash(#deleted)
return {#deleted, kept, redis.call('LLEN', KEYS[4]) - size}
