-- Takes, keeps or gives up the lead, and tells when the first periodic job is due.
--
-- KEYS  1 jobd:leader · 2 jobd:periodic
-- ARGV  1 the caller, '' for one that may not lead · 2 lease (s); 0 to give the lead up
-- Returns  {the server's time (s) · the caller's fencing number, 0 if another one leads or none ·
--       seconds until the lease ends (text) · when the first periodic job is due, or ''}.
-- A lease is written again when a third of it has passed. One that reaches further ahead than a
-- lease is from before the server's clock was set back, and is written as one that begins now. PERSIST changes
-- nothing; it allows the writes after it when memory is full.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local first = redis.pcall('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local due = first[2] or ''
local known = redis.pcall('HMGET', KEYS[1], 'holder', 'until', 'token')
if known.err then return {tostring(time[1]) .. '.' .. string.format('%06d', time[2]), 0, '0', due} end
local me, lease = ARGV[1], tonumber(ARGV[2])
local holder, token = known[1] or '', tonumber(known[3]) or 0
local left = (tonumber(known[2]) or 0) - now
if left < 0 then holder = '' end
if lease > 0 and left > math.max(lease, 1) then -- who gives up tells of no lease
  left = math.max(lease, 1)
  if me ~= '' and holder ~= '' then
    redis.call('PERSIST', KEYS[1])
    redis.call('HSET', KEYS[1], 'until', string.format('%.6f', now + left))
  end
end
if me ~= '' then
  if lease == 0 then
    if holder == me then
      redis.call('PERSIST', KEYS[1])
      redis.call('HSET', KEYS[1], 'holder', '', 'until', 0)
      holder, left = '', 0
    end
  elseif holder == '' or (holder == me and left < lease * 2 / 3) then
    redis.call('PERSIST', KEYS[1])
    if holder == '' then
      token = token + 1
      redis.call('HSET', KEYS[1], 'since', string.format('%.6f', now), 'token', token)
    end
    left = lease
    redis.call('HSET', KEYS[1], 'holder', me, 'until', string.format('%.6f', now + lease))
    holder = me
  end
end
return {tostring(time[1]) .. '.' .. string.format('%06d', time[2]),
  (me ~= '' and holder == me) and token or 0, tostring(math.max(0, left)), due}
