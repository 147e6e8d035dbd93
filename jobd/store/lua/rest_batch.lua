-- Notes until when no keeper has to search for the members of a batch.
--
-- KEYS  1 queues · 2 jobd:batch:ID
-- ARGV  1 id · 2 until when (s)
-- Returns  1; 0 if there is no such batch.
if not batch_at(root_of(KEYS[1], 'queues'), ARGV[1]) then return 0 end
redis.call('HSET', KEYS[2], 'looked_at', ARGV[2])
return 1
