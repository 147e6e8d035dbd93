-- Takes jobs from the head of the queues and records them as in flight, atomically.
--
-- KEYS  1 owners · 2 in-flight hash of the owner · 3 paused queues · 4… queue lists, in the order
--       in which they are tried
-- ARGV  1 identity of the owner · 2 sequence number of the first job · 3 how many jobs in all
--       4 'shares' or 'limits', then for each queue: its name · its share if every queue has enough,
--       or the most jobs in total once it has been taken from
-- Returns  false if the owner holds no lease (it must register again), else a list with an entry
--       for each portion taken, in order of sequence: {position of the queue, payload, …}. A paused
--       queue is reported as {-position}, and a key that is not a list as {-position, error}. A last
--       entry {0} means that the size limit was reached: there may be more.
--
-- Shares are taken first; the rest is filled in the order given, so that a batch keeps the
-- proportions of the weights and is full if there is enough work. Limits are for strict order: a
-- queue only fills up what those before it have left. RPOP comes before HSET: it is allowed when
-- memory is full, and after a script's first write the rest of it is, too. What HSET refuses (the
-- user may not, or the key has another type) goes back, as a script is not rolled back.
--
-- All clients wait while a script runs, so a claim is limited to about 4 MB, shared between the
-- queues as well. No command gives the size of a job before it is taken: so the first batch from a
-- queue is small, and later ones, of at most 100 jobs, are sized by those before.
local BYTES, FIRST, CHUNK = 4194304, 10, 100

local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not lease or tonumber(lease) <= 0 then return false end

local closed = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[3])) do closed[name] = true end

local sequence = tonumber(ARGV[2])
local wanted, limits = tonumber(ARGV[3]), ARGV[4] == 'limits'
local left, room = wanted, BYTES
local queues = #KEYS - 3
local taken, empty, refused = {}, {}, nil

-- Takes up to `most` jobs of one queue; exceeds `limit` bytes by one batch at most.
local function take(position, most, limit)
  local portion, jobs, bytes, chunk = {position}, 0, 0, math.min(FIRST, most)
  repeat
    local payloads = redis.pcall('RPOP', KEYS[position + 3], chunk)
    empty[position] = not payloads or (not payloads.err and #payloads < chunk)
    if not payloads then break end
    if payloads.err then
      closed[ARGV[2 * position + 3]] = true
      taken[#taken + 1] = {-position, payloads.err}
      return
    end
    for i, payload in ipairs(payloads) do
      portion[jobs + i + 1] = payload
      bytes = bytes + #payload
    end
    jobs = jobs + #payloads
    if jobs == most or empty[position] then break end
    local fitting = math.max(1, math.floor((limit - bytes) * jobs / bytes))
    chunk = math.min(fitting, CHUNK, most - jobs)
  until bytes >= limit
  if jobs == 0 then return end
  left, room = left - jobs, room - bytes
  local name = ARGV[2 * position + 3]
  local filing, words, filed = {}, 0, 0
  for i = 1, jobs do
    filing[words + 1] = string.format('%.0f:%s', sequence, name)
    filing[words + 2] = portion[i + 1]
    sequence, words = sequence + 1, words + 2
    if words == 2000 or i == jobs then
      local answer = redis.pcall('HSET', KEYS[2], unpack(filing))
      if type(answer) == 'table' then
        for j = jobs, filed + 1, -1 do redis.call('RPUSH', KEYS[position + 3], portion[j + 1]) end
        left, refused = 0, answer
        return
      end
      filing, words, filed = {}, 0, i
    end
  end
  taken[#taken + 1] = portion
end

-- One check of many queues is cheaper than one of each, and mostly finds that all are empty.
local many = queues > 8 and queues < 1000
if many and redis.call('EXISTS', unpack(KEYS, 4)) == 0 then left = 0 end

for position = 1, queues do
  if closed[ARGV[2 * position + 3]] then
    taken[#taken + 1] = {-position}
  elseif room > 0 then
    local share = tonumber(ARGV[2 * position + 4])
    local most = math.min(limits and share - (wanted - left) or share, left)
    local limit = limits and room or math.min(room, BYTES * share / wanted)
    if most > 0 then take(position, most, limit) end
  end
end
for position = 1, queues do
  if limits or left <= 0 or room <= 0 then break end
  if not (empty[position] or closed[ARGV[2 * position + 3]]) then take(position, left, room) end
end
if left > 0 and room <= 0 then taken[#taken + 1] = {0} end
return refused or taken
