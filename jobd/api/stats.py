"""The counters: totals, sizes, and totals by day."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from typing import Literal, cast, get_args

from jobd.ambient import clock
from jobd.api.queues.queues import waits
from jobd.api.reading import MOST, answers, batches, integer, members, text
from jobd.api.session import Change, Session
from jobd.errors import ArgumentError
from jobd.store import scripts
from jobd.store.protocol import ask
from jobd.wire.options import DEFAULT_QUEUE

MOST_DAYS = 5 * 365
"""Days of history; the counts of a day are kept for five years."""

Counter = Literal["processed", "failed", "expired", "cancelled", "duplicates"]


@dataclass(frozen=True, slots=True)
class Counters:
    """What is known at once, whatever there is in Redis.

    Attributes:
        processed: executions that ended, failed ones too, since the counters exist.
        failed: executions that raised.
        expired: jobs that were too late to start, and never ran.
        cancelled: jobs that were cancelled after a worker had claimed them.
        duplicates: pushes of unique jobs that were refused.
        scheduled_size: jobs that wait for their time.
        retry_size: jobs that wait for another attempt.
        dead_size: jobs that used up their attempts.
        processes_size: worker processes, Ruby's too; one that died is counted for another minute.
        default_queue_latency: seconds that the oldest job of queue ``default`` has waited.
    """

    processed: int
    failed: int
    expired: int
    cancelled: int
    duplicates: int
    scheduled_size: int
    retry_size: int
    dead_size: int
    processes_size: int
    default_queue_latency: float


@dataclass(frozen=True, slots=True)
class Stats(Counters):
    """All counters, read one after the other: a job that goes from one place to another meanwhile
    may be in none of them, or in two.

    Attributes:
        enqueued: jobs in all queues.
        workers_size: jobs that run now.
        in_flight: jobs that jobd's workers have claimed, the running ones among them.
        queues: sizes of all known queues by name, the largest first.
    """

    enqueued: int
    workers_size: int
    in_flight: int
    queues: dict[str, int]


@dataclass(frozen=True, slots=True)
class Day:
    """Counts of one UTC day."""

    date: datetime.date
    processed: int
    failed: int


def counters(session: Session) -> Counters:
    """See :meth:`jobd.api.Api.counters`."""
    keys = session.keys
    with session.redis.pipeline(transaction=False) as pipe:
        pipe.get(keys.processed)
        pipe.get(keys.failed)
        pipe.get(keys.expired)
        pipe.get(keys.cancelled)
        pipe.get(keys.duplicates)
        pipe.zcard(keys.schedule)
        pipe.zcard(keys.retry)
        pipe.zcard(keys.dead)
        pipe.scard(keys.processes)
        numbers = answers(pipe)
    [(_, latency)] = waits(session, [DEFAULT_QUEUE])
    done, failed, expired, cancelled, duplicates, *sizes = map(integer, numbers)
    scheduled, retries, dead, processes = sizes
    return Counters(
        *(done, failed, expired, cancelled, duplicates),
        *(scheduled, retries, dead, processes),
        latency,
    )


def stats(session: Session, most: int | None = None) -> Stats:
    """See :meth:`jobd.api.Api.stats`."""
    fast, keys, redis = counters(session), session.keys, session.redis
    names = [text(name) for name in members(redis, keys.queues, most)]
    identities = members(redis, keys.processes, most)
    # As many as there are workers; those beyond hold nothing that could be seen on a page.
    owners = cast("list[bytes]", redis.zrange(keys.owners, 0, MOST - 1))
    asked = [
        *(("LLEN", keys.queue(name)) for name in names),
        *(("HGET", keys.process(text(identity)), "busy") for identity in identities),
        *(("HLEN", keys.inflight(text(owner))) for owner in owners),
    ]
    sizes: list[int] = []
    for batch in batches(asked, size=MOST):
        with redis.pipeline(transaction=False) as pipe:
            for command in batch:
                ask(pipe, *command)
            sizes += map(integer, answers(pipe))
    queues = dict(zip(names, sizes, strict=False))
    running = len(names) + len(identities)
    return Stats(
        **asdict(fast),
        enqueued=sum(queues.values()),
        workers_size=sum(sizes[len(names) : running]),
        in_flight=sum(sizes[running:]),
        queues=dict(sorted(queues.items(), key=lambda queue: queue[1], reverse=True)),
    )


def history(session: Session, days: int, last: datetime.date | None = None) -> list[Day]:
    """See :meth:`jobd.api.Api.history`."""
    if not 1 <= days <= MOST_DAYS:
        raise ArgumentError(f"days must be between 1 and {MOST_DAYS}, not {days}")
    last = last or datetime.datetime.fromtimestamp(clock.now(), datetime.UTC).date()
    dates = [last - datetime.timedelta(days=back) for back in range(days)]
    with session.redis.pipeline(transaction=False) as pipe:
        pipe.mget([session.keys.processed_on(date.isoformat()) for date in dates])
        pipe.mget([session.keys.failed_on(date.isoformat()) for date in dates])
        processed, failed = pipe.execute()
    return [
        Day(date, integer(done), integer(bad))
        for date, done, bad in zip(dates, processed, failed, strict=True)
    ]


def reset(session: Session, names: tuple[Counter, ...]) -> None:
    """See :meth:`jobd.api.Api.reset_stats`."""
    keys = session.keys
    for name in names:
        if name not in get_args(Counter):
            raise ArgumentError(f"there is no total {name!r}; they are {get_args(Counter)}")
    chosen = [getattr(keys, name) for name in names or get_args(Counter)]
    Change(session, "reset", "stats").call(scripts.RESET, chosen, [])
