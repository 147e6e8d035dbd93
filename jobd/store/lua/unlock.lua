-- Releases the lock of a job that starts.
--
-- KEYS  1 queues · 2 the lock
-- ARGV  1 id of the job
-- Returns  1.
if fits(KEYS[2], 'hash') then release(root_of(KEYS[1], 'queues'), KEYS[2], ARGV[1]) end
return 1
