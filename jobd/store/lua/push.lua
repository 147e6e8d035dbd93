-- Pushes jobs with attachments, each in one step with its lock and the record of its result.
--
-- KEYS  1 queues · 2 schedule · 3 stat:duplicates · 4 its day · 5 jobd:departed · 6… queue lists
-- ARGV  1 TTL of the day's counter (s) · 2 now (s), of the client · 3 how many queues follow, then
--       their names, in the order of KEYS, then ten for each job (see pushing.lua)
-- Returns  for each job: '' if it was pushed, else the id of the job that holds its lock · for how
--       long (s, as text).
-- The types of all keys are checked first, since a script that fails half way is not rolled back.
-- Sent again after a lost reply it changes nothing for a unique job, and pushes the others again.
local queues = tonumber(ARGV[3])
local push = {
  root = root_of(KEYS[1], 'queues'), names = {}, lists = {}, at = ARGV[2], first = 4 + queues, last = #ARGV,
}
for position = 1, queues do
  push.names[position], push.lists[position] = ARGV[3 + position], KEYS[5 + position]
  redis.call('LLEN', KEYS[5 + position])
end
redis.call('ZCARD', KEYS[2])
redis.call('SISMEMBER', KEYS[1], '')
redis.call('HEXISTS', KEYS[5], 'used')
check_pushes(push)
local answers, refused = push_attached(push)
settled(push.root)
count(3, refused, ARGV[1])
redis.call('HSETNX', KEYS[5], 'used', 1)
return answers
