-- Reads what a worker has been told to look at: its remote signals, which it takes, and the requests
-- to cancel its jobs.
--
-- KEYS  1 signals · 2 in-flight hash
-- ARGV  1 most signals
-- Returns  the signals, the oldest first · for each of its jobs in flight that are to be cancelled, its
--       tag and what the request says (see cancelling.lua).
return {redis.call('RPOP', KEYS[1], ARGV[1]) or {}, to_cancel(KEYS[2])}
