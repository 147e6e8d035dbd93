"""What is in Redis, typed and read-only: shared by ``jobctl``, the dashboard, the demo and tests.

Every function takes a connection and the :class:`~jobd.redis.keys.Keys` of the installation, and
reads in a fixed number of round trips however much there is. The names follow Sidekiq's data API,
and jobs that Ruby pushed are read as well as our own.
"""

from jobd.api.processes import Process, Work, processes
from jobd.api.queues import Queue, queued, queues
from jobd.api.records import Record
from jobd.api.sets import Entry, entries
from jobd.api.stats import Day, Stats, history, stats

__all__ = [
    "Day",
    "Entry",
    "Process",
    "Queue",
    "Record",
    "Stats",
    "Work",
    "entries",
    "history",
    "processes",
    "queued",
    "queues",
    "stats",
]
