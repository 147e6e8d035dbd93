-- Takes steps of schedules: pushes the job of a tick and stores the next one, or only does the latter.
--
-- KEYS  1 jobd:periodic · 2 queues · 3 schedule · 4 jobd:departed, then for each step: hash of the
--       schedule · list of its last ticks · queue list
-- ARGV  for each step: id · the tick that must still be its next one, '' for a job that a person asks
--       for · the next tick after it · payload without the time of the push, '' if none is pushed · id
--       of the job · name of the queue · when it is due (s), or '' for now · key of its lock, or '' ·
--       how long that is held (s), or '' · 1 if it outlives the job, else 0 · how long its result is
--       kept (s), or '' · the rest of the record: JSON without the first brace
-- Returns  {how many jobs were pushed, then for each step:} what became of it: 'fired', 'late',
--       'missed', 'skipped' (the lock is held), 'early' (its time has not come), 'gone' (somebody else
--       has taken it), 'refused' (the key of the queue is not a list) or 'unusable' (another key has
--       another type) · for 'skipped' the id of the job that holds the lock, else ''.
-- The types of all keys are checked first, since a script that fails half way is not rolled back. The
-- first write is the push, which a full server refuses: then nothing has changed, and the tick is
-- late. A lost reply costs nothing: sent again, the tick is no longer the next one.
local root = root_of(KEYS[2], 'queues')
local now = server_time()
local usable = fits(KEYS[1], 'zset') and fits(KEYS[2], 'set') and fits(KEYS[3], 'zset')
local answers, pushed = {0}, 0
local used = false
local lists, known = {}, {} -- queues that were looked at, and those that were named

local function is_list(queue)
  if lists[queue] == nil then lists[queue] = fits(queue, 'list') end
  return lists[queue]
end

local function await(jid, keep, due)
  local key = root .. 'jobd:result:' .. jid
  local written = redis.pcall('HSET', key, 'state', waiting(due ~= '' and 'schedule' or nil))
  if type(written) == 'table' then return end
  redis.call('EXPIRE', key, 7776000 + math.max(0, math.ceil((tonumber(due) or 0) - now)))
end

local function take(i, hash, ticks, queue)
  local id, tick, raw, jid, due = ARGV[i], ARGV[i + 1], ARGV[i + 3], ARGV[i + 4], ARGV[i + 6]
  local by_hand = tick == ''
  if not usable or not fits(hash, 'hash') or not fits(ticks, 'list') then return 'unusable', '' end
  local score = redis.call('ZSCORE', KEYS[1], id)
  if not score then return 'gone', '' end
  if not by_hand then
    if tonumber(score) ~= tonumber(tick) then return 'gone', '' end
    if tonumber(tick) > tonumber(now) then return 'early', '' end
  end
  local outcome, holder = 'missed', ''
  if raw ~= '' then
    if not is_list(queue) then return 'refused', '' end
    local lock = ARGV[i + 7] ~= '' and root .. 'jobd:lock:' .. ARGV[i + 7]
    if lock and not fits(lock, 'hash') then lock = nil end
    local held = lock and redis.call('HGET', lock, 'jid')
    if held and held ~= jid then
      outcome, holder = 'skipped', held
      if by_hand then return outcome, holder end
    else
      pushed = pushed + 1
      outcome = by_hand and 'run' or tonumber(now) - tonumber(tick) > 1 and 'late' or 'fired'
      if due == '' then
        redis.call('LPUSH', queue, stamped(raw, now))
        if not known[queue] then redis.call('SADD', KEYS[2], ARGV[i + 5]) end
        known[queue] = true
      else
        redis.call('ZADD', KEYS[3], due, raw)
      end
      if lock then
        local seconds = length(ARGV[i + 8])
        local wait = math.max(0, (tonumber(due) or 0) - now)
        hold(lock, jid, seconds and seconds + wait, now, ARGV[i + 9] == '1', not held)
        if due ~= '' then redis.call('HSET', lock, 'set', 'schedule', 'score', due) end
        used = true
      end
      if ARGV[i + 10] ~= '' then
        await(jid, ARGV[i + 10], due)
        used = true
      end
    end
  end
  if not by_hand then redis.call('ZADD', KEYS[1], ARGV[i + 2], id) end
  local about = '{"what":"' .. outcome .. '","at":' .. now
  if holder ~= '' then about = about .. ',"holder":' .. cjson.encode(holder) end
  local many = redis.call('LPUSH', ticks, about .. ',' .. ARGV[i + 11])
  if many > 20 then redis.call('RPOP', ticks) end
  if outcome == 'skipped' and fits(root .. 'jobd:contested', 'zset') then
    redis.call('ZADD', root .. 'jobd:contested', 'NX', now, root .. 'jobd:lock:' .. ARGV[i + 7])
  end
  return outcome, holder
end

local place = 4
for i = 1, #ARGV, 12 do
  local outcome, holder = take(i, KEYS[place + 1], KEYS[place + 2], KEYS[place + 3])
  answers[#answers + 1], answers[#answers + 2] = outcome, holder
  place = place + 3
end
if used and fits(KEYS[4], 'hash') then redis.call('HSETNX', KEYS[4], 'used', 1) end
answers[1] = pushed
return answers
