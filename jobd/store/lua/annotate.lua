-- Notes something of a job beside its result, in the same record.
--
-- KEYS  1 the record
-- ARGV  1 how long it is kept if nothing says so yet (s) · 2 "1" to make it if there is none · 3 a
--       field that is taken away, or "" · 4… names and values of fields
-- Returns  1; 0 if there is no record, and none is made.
if ARGV[2] ~= '1' and redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[3] ~= '' then redis.call('HDEL', KEYS[1], ARGV[3]) end
if #ARGV > 3 then redis.call('HSET', KEYS[1], unpack(ARGV, 4)) end
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return 1
