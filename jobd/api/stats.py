"""The counters: totals, sizes, and totals by day."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import redis as redis_py

from jobd.redis.keys import Keys


@dataclass(frozen=True, slots=True)
class Stats:
    """All counters at one moment.

    Attributes:
        processed: executions that ended, failed ones too, since the counters exist.
        failed: executions that raised.
        enqueued: jobs in all queues.
        scheduled: jobs that wait for their time.
        retries: jobs that wait for another attempt.
        dead: jobs that used up their attempts.
        in_flight: jobs that jobd's workers have claimed.
        processes: worker processes, Ruby's too.
        busy: jobs that run now.
    """

    processed: int
    failed: int
    enqueued: int
    scheduled: int
    retries: int
    dead: int
    in_flight: int
    processes: int
    busy: int


@dataclass(frozen=True, slots=True)
class Day:
    """Counts of one UTC day."""

    date: datetime.date
    processed: int
    failed: int


def stats(redis: redis_py.Redis, keys: Keys) -> Stats:
    """Read the counters in two round trips.

    Raises:
        redis.RedisError: the server does not answer.
    """
    with redis.pipeline(transaction=False) as pipe:
        pipe.mget(keys.processed, keys.failed)
        pipe.zcard(keys.schedule)
        pipe.zcard(keys.retry)
        pipe.zcard(keys.dead)
        pipe.smembers(keys.queues)
        pipe.smembers(keys.processes)
        pipe.zrange(keys.owners, 0, -1)
        (processed, failed), scheduled, retries, dead, names, identities, owners = pipe.execute()
        for name in names:
            pipe.llen(keys.queue(name.decode()))
        for identity in identities:
            pipe.hget(keys.process(identity.decode()), "busy")
        for owner in owners:
            pipe.hlen(keys.inflight(owner.decode()))
        sizes = pipe.execute()
    busy = sizes[len(names) : len(names) + len(identities)]
    return Stats(
        processed=int(processed or 0),
        failed=int(failed or 0),
        enqueued=sum(sizes[: len(names)]),
        scheduled=scheduled,
        retries=retries,
        dead=dead,
        in_flight=sum(sizes[len(names) + len(identities) :]),
        # An identity whose hash has expired is a process that died; it is pruned from the set
        # a little later.
        processes=sum(1 for value in busy if value is not None),
        busy=sum(int(value or 0) for value in busy),
    )


def history(redis: redis_py.Redis, keys: Keys, last: datetime.date, days: int) -> list[Day]:
    """Counts of the *days* UTC days that end with *last*, newest first.

    Raises:
        ValueError: *days* is not between 1 and 1825 (the counts are kept for five years).
    """
    if not 1 <= days <= 5 * 365:
        raise ValueError(f"days must be between 1 and 1825, not {days}")
    dates = [last - datetime.timedelta(days=back) for back in range(days)]
    with redis.pipeline(transaction=False) as pipe:
        pipe.mget([keys.processed_on(date.isoformat()) for date in dates])
        pipe.mget([keys.failed_on(date.isoformat()) for date in dates])
        processed, failed = pipe.execute()
    return [
        Day(date, int(done or 0), int(bad or 0))
        for date, done, bad in zip(dates, processed, failed, strict=True)
    ]
