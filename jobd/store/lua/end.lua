-- Ends jobs in flight in the same way, with what hangs on them.
--
-- KEYS  1 in-flight hash · 2 queues · 3 counter of such ends · 4 its day
-- ARGV  1 TTL of the day's counter (s) · 2 'done', 'expired' or 'cancelled' · then for each job: its
--       tag · detail of its result (JSON), or ''
-- Returns  how many were still in flight; the others belong to another owner by now, and are neither
--       changed nor counted.
local root, found = root_of(KEYS[2], 'queues'), 0
for i = 3, #ARGV, 2 do
  local raw = redis.call('HGET', KEYS[1], ARGV[i])
  if raw then
    redis.call('HDEL', KEYS[1], ARGV[i])
    found = found + 1
    ended(root, raw, ARGV[2], ARGV[i + 1])
  end
end
count(3, found, ARGV[1])
return found
