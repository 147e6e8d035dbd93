-- Deletes the job that waits for a lock.
--
-- KEYS  1…3 trash (see trash.lua) · 4 the lock
-- ARGV  1…6 trash · 7 id of the job
-- Returns  1; 0 if it does not wait for that lock any more.
local root = root_of(KEYS[1], 'jobd:trash')
if not fits(KEYS[4], 'hash') then return 0 end
local waits = redis.call('HMGET', KEYS[4], 'again_jid', 'again', 'ends')
if waits[1] ~= ARGV[7] or not waits[2] then return 0 end
-- A full server allows this, and the rest after it.
forget_waiting(KEYS[4])
if waits[3] then bound(KEYS[4], math.max(0.001, waits[3] - server_time()), server_time()) end
if ARGV[1] ~= '' then redis.call('LPUSH', KEYS[3], stamped(waits[2], server_time())) end
ended(root, waits[2], 'cancelled', '')
put_in_trash(1)
return 1
