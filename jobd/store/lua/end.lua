-- Ends jobs in flight in the same way, with what hangs on them.
--
-- KEYS  1 in-flight hash · 2 queues · 3 counter of such ends · 4 its day
-- ARGV  1 TTL of the day's counter (s) · 2 'done', 'expired' or 'cancelled' · then for each job: its
--       tag · detail of its result (JSON), or ''
-- Returns  how many were still in flight; the others belong to another owner by now, and are neither
--       changed nor counted.
local root, found = root_of(KEYS[2], 'queues'), 0
for first = 3, #ARGV, 2000 do
  local tags = {}
  for i = first, math.min(first + 1998, #ARGV), 2 do tags[#tags + 1] = ARGV[i] end
  local payloads = redis.call('HMGET', KEYS[1], unpack(tags))
  found = found + redis.call('HDEL', KEYS[1], unpack(tags))
  for i, raw in ipairs(payloads) do
    local detail = ARGV[first + 2 * i - 1]
    if raw and not simply_ended(root, raw, ARGV[2], detail) then ended(root, raw, ARGV[2], detail, true) end
  end
end
settle_simple(root, ARGV[2])
settled(root)
count(3, found, ARGV[1])
return found
