-- Wraps a script so that it also writes an audit log entry, atomically. A script that changed nothing
-- writes none. An action of many steps has one entry, whose count grows, unless another action comes
-- in between; then a reader adds up the entries. Clients choose the id of an action, so entries with
-- the same id belong together only if the other fields are equal, too.
--
-- KEYS  those of the script · last: audit stream
-- ARGV  those of the script · last four: id of the action · who · what · to what
-- Returns  what the script returns. That is how many it changed, or a list that begins with it.
local audit = table.remove(KEYS)
local target, action = table.remove(ARGV), table.remove(ARGV)
local who, id = table.remove(ARGV), table.remove(ARGV)
redis.call('XLEN', audit) -- fail on a key of another type before anything is changed
-- Likewise if the Redis user may change jobs but not write the log (not detectable before Redis 7.0).
for _, command in ipairs({'XADD', 'XDEL', 'XREVRANGE'}) do
  if redis.acl_check_cmd and not redis.acl_check_cmd(command, audit, '1-1', 'a', 'b') then
    error('NOPERM this user may not write the audit log with ' .. command .. '; nothing was changed')
  end
end

local function act()
-- (the script itself)
end

local result = act()
local done = tonumber(type(result) == 'table' and result[1] or result)
if done > 0 then
  local last = redis.call('XREVRANGE', audit, '+', '-', 'COUNT', 1)[1]
  local told = last and last[2] or {}
  if told[2] == id and told[4] == who and told[6] == action and told[8] == target then
    done = done + (tonumber(told[10]) or 0)
    redis.call('XDEL', audit, last[1])
  end
  redis.call('XADD', audit, 'MAXLEN', '~', 10000, '*', 'id', id, 'who', who, 'action', action,
    'target', target, 'jobs', done)
end
return result
