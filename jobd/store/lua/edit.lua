-- Replaces a job of a queue, identified by its bytes, by a changed one: at its place, or at the end of
-- another queue.
--
-- KEYS  1…3 trash (see trash.lua) · 4 queue list · 5 queues · 6 list of the queue that it goes to
-- ARGV  1…6 trash · 7 name of that queue · 8 last known place of the job (see find_queued.lua) · 9 its
--       payload · 10 its new payload · 11 a text that is in no queue
-- Returns  as unqueue.lua; a job that was claimed in the meantime is not found, and nothing changes.
-- The description holds the new payload, by which restore.lua takes the job back.
redis.call('LLEN', KEYS[6]) -- fail on a key of another type before anything is changed
redis.call('PERSIST', KEYS[4])
local place = find_queued(KEYS[4], tonumber(ARGV[8]), ARGV[9])
if not place then return {0, 1, 1} end
if KEYS[6] == KEYS[4] then
  replace_queued(KEYS[4], place, ARGV[9], ARGV[10])
else
  redis.call('SADD', KEYS[5], ARGV[7])
  redis.call('LPUSH', KEYS[6], ARGV[10])
  mark_queued(KEYS[4], place, ARGV[9], ARGV[11])
  remove_marked(KEYS[4], ARGV[11])
end
moved_on(root_of(KEYS[1], 'jobd:trash'), ARGV[10])
if ARGV[1] ~= '' then
  redis.call('LPUSH', KEYS[3], ARGV[9])
  redis.call('HSET', KEYS[2], 'pushed', ARGV[10])
end
put_in_trash(1)
return {1, 1}
