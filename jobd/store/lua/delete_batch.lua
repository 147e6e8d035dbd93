-- Forgets a batch, with its callbacks; its members become ordinary jobs.
--
-- KEYS  1 queues · 2 jobd:batches · 3 jobd:batches:open · 4 jobd:batch:ID · 5 jobd:batch:ID:members
--       6 jobd:batch:ID:callbacks
-- ARGV  1 id
-- Returns  1; 0 if there is no such batch.
if not batch_at(root_of(KEYS[1], 'queues'), ARGV[1]) then return 0 end
for _, index in ipairs({KEYS[2], KEYS[3]}) do
  if fits(index, 'zset') then redis.call('ZREM', index, ARGV[1]) end
end
return redis.call('DEL', KEYS[4], KEYS[5], KEYS[6]) > 0 and 1 or 0
