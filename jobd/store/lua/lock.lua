-- Takes the lock of a job that a program has pushed without it, before the job starts.
--
-- KEYS  1 the lock
-- ARGV  1 id of the job · 2 how long it is held (s), or '' · 3 1 if it outlives the job, else 0
-- Returns  false if the job holds it now, else the id of the job that does.
if not fits(KEYS[1], 'hash') then return false end
local holder = redis.call('HGET', KEYS[1], 'jid')
if holder and holder ~= ARGV[1] then return holder end
if not holder then hold(KEYS[1], ARGV[1], tonumber(ARGV[2]), server_time(), ARGV[3] == '1') end
return false
