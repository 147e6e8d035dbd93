-- Names the owners that need a keeper: those whose lease has ended, and the condemned.
--
-- KEYS  1 owners
-- ARGV  1 how many at most
-- Returns  identities, the longest expired first.
return redis.call(
  'ZRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1], 'LIMIT', 0, ARGV[1])
