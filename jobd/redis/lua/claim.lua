-- Takes jobs from the head of the queues and files them as in flight, in one step.
--
-- KEYS  1 owners · 2 in-flight hash of the owner · 3 paused queues · 4… queue lists, in the order
--       in which they are tried
-- ARGV  1 identity of the owner · 2 sequence number of the first job · 3 how many jobs in all
--       then for each queue: its name · how many of them it gives if every queue has enough
-- Returns  false when the owner holds no lease (it must register again), else a list with an
--       entry for each portion taken, in order of sequence: {position of the queue, payload, …}.
--       A paused queue is reported as {-position}.
--
-- Shares are taken first, then what is left is filled in the order given, so that a batch keeps
-- the proportions of the weights and is full whenever there is work. RPOP comes before HSET: it
-- is allowed when memory is full, and after a script's first write the rest of it is as well.
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not lease or tonumber(lease) <= 0 then return false end

local paused = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[3])) do paused[name] = true end

local sequence = tonumber(ARGV[2])
local left = tonumber(ARGV[3])
local queues = #KEYS - 3
local taken = {}

local function take(position, most)
  local payloads = redis.call('RPOP', KEYS[position + 3], most)
  if not payloads or #payloads == 0 then return 0 end
  local name = ARGV[2 * position + 2]
  local portion, filing = {position}, {}
  for i, payload in ipairs(payloads) do
    portion[i + 1] = payload
    filing[#filing + 1] = string.format('%.0f:%s', sequence, name)
    filing[#filing + 1] = payload
    sequence = sequence + 1
    if i % 1000 == 0 then
      redis.call('HSET', KEYS[2], unpack(filing))
      filing = {}
    end
  end
  if #filing > 0 then redis.call('HSET', KEYS[2], unpack(filing)) end
  taken[#taken + 1] = portion
  return #payloads
end

for position = 1, queues do
  if paused[ARGV[2 * position + 2]] then
    taken[#taken + 1] = {-position}
  else
    local share = math.min(tonumber(ARGV[2 * position + 3]), left)
    if share > 0 then left = left - take(position, share) end
  end
end
for position = 1, queues do
  if left <= 0 then break end
  if not paused[ARGV[2 * position + 2]] then left = left - take(position, left) end
end
return taken
