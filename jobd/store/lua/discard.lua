-- Ends a failed job without keeping it.
--
-- KEYS  1 in-flight hash · 2 stat:processed · 3 its day · 4 stat:failed · 5 its day
-- ARGV  1 TTL of the day's counters (s) · 2 tag · 3 detail of its result (JSON), or ''
-- Returns  1; 2 if it ended as cancelled instead (see cancelling.lua); 0 if the job was no longer in
--       flight (then nothing is changed).
local raw = redis.call('HGET', KEYS[1], ARGV[2])
if not raw then return 0 end
if cancelled(KEYS[1], ARGV[2], raw) then return 2 end
redis.call('HDEL', KEYS[1], ARGV[2])
ended(root_of(KEYS[2], 'stat:processed'), raw, 'failed', ARGV[3])
count(2, 1, ARGV[1])
count(4, 1, ARGV[1])
return 1
