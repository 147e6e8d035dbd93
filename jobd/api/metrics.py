"""What the workers have counted for each job: executions, failures, times; of jobd and Sidekiq 8.

By minute for eight hours, with a histogram of the times, and by ten minutes for three days. What is
not in Redis counts as nothing, so a chart has no gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jobd.ambient import clock
from jobd.api.reading import hashes, integer, text
from jobd.api.session import Session, session_or_default
from jobd.errors import ArgumentError
from jobd.store.protocol import ask
from jobd.wire.histogram import BOUNDS

MOST_CLASSES = 2_000
LONGEST_NAME = 1_000
MOST_BYTES = 16 * 1024 * 1024
"""Classes of one look, bytes of their names, and about the bytes of counts that are read for it:
whoever can push jobs can make up classes."""

MOST_MINUTES = 480
MOST_HOURS = 72

_LETTERS = ("p", "f", "ms")
"""Ends of the fields of a job: executions, failures, time."""

_BUCKETS = len(BOUNDS) + 1
_HISTOGRAM: list[str] = [word for at in range(_BUCKETS) for word in ("GET", "u16", f"#{at}")]


class Point(NamedTuple):
    """One minute, or ten.

    Attributes:
        at: its beginning, seconds since 1970.
        processed: executions that ended, failed ones too.
        failed: those that raised.
        ms: what the others took together, milliseconds.
    """

    at: float
    processed: int
    failed: int
    ms: int


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """One job over a period; see :class:`Point` for the totals."""

    name: str
    processed: int
    failed: int
    ms: int
    _columns: tuple[Sequence[float], Sequence[int], Sequence[int], Sequence[int]] = field(
        repr=False
    )

    @property
    def series(self) -> tuple[Point, ...]:
        """Oldest first, without gaps."""
        # Made when somebody looks: of a hundred jobs six are drawn.
        return tuple(map(Point, *self._columns))

    @property
    def average(self) -> float:
        """Seconds that an execution took that did not fail; 0.0 if there was none."""
        done = self.processed - self.failed
        return self.ms / done / 1000 if done > 0 else 0.0

    @property
    def failure_rate(self) -> float:
        """Share of the executions that failed, 0.0 to 1.0."""
        return self.failed / self.processed if self.processed else 0.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long the executions of a job took that did not fail.

    Attributes:
        counts: how many, by bucket; :data:`bounds` has the buckets.
        series: the counts of each minute, with its beginning (seconds since 1970), oldest first.
    """

    counts: tuple[int, ...]
    series: tuple[tuple[float, tuple[int, ...]], ...]

    bounds = tuple(bound / 1000 for bound in BOUNDS)
    """Upper bounds of the buckets, seconds; the last bucket, one more, has none."""

    def percentile(self, share: float) -> float | None:
        """Seconds below which this share of the executions ended, e.g. 0.95.

        It is as exact as the buckets are: the upper bound of the one it falls into, infinity for
        the last. None if no execution succeeded.
        """
        wanted, seen = share * sum(self.counts), 0
        for count, bound in zip(self.counts, (*self.bounds, float("inf")), strict=True):
            seen += count
            if seen and seen >= wanted:
                return bound
        return None


class Metrics:
    """The metrics of all jobs.

    Args:
        api: the connection; the default one when None.

    Example:
        >>> for job in Metrics(api).top_jobs(minutes=60)[:5]:  # doctest: +SKIP
        ...     print(job.name, job.processed, job.failed, job.average)
    """

    def __init__(self, api: Session | None = None) -> None:
        self._api = session_or_default(api)

    def top_jobs(
        self, *, minutes: int | None = None, hours: int | None = None, match: str = ""
    ) -> list[JobMetrics]:
        """The jobs that ran, those that took most time in all first: of more than about 2,000
        classes the ones that ran last, and only as far back as 16 MB of counts go.

        Cost: a script for each megabyte of counts; O(jobs that ran in each minute).

        Args:
            minutes: of the last so many minutes, up to 480; 60 by default.
            hours: of the last so many hours instead, up to 72, by ten minutes.
            match: only jobs whose names contain this, in upper or lower case.

        Raises:
            ArgumentError: the period is out of bounds, or there are two.
        """
        times, key = self._period(minutes, hours)
        # There may be a hundred thousand counts, but only three fields for each job.
        nothing = [0] * len(times)
        columns: dict[bytes, list[int]] = {}
        room = MOST_BYTES
        # Where there is too much, it is the past that is left out.
        newest_first = hashes(self._api.redis, [key(at) for at in reversed(times)])
        for back, fields in enumerate(newest_first):
            for spelled, value in fields.items():
                column = columns.get(spelled)
                if column is None:
                    if len(spelled) > LONGEST_NAME or len(columns) >= len(_LETTERS) * MOST_CLASSES:
                        continue
                    column = columns[spelled] = nothing.copy()
                column[-1 - back] = integer(value)
            room -= sum(len(spelled) + len(value) for spelled, value in fields.items())
            if room < 0:
                break
        counts = {text(spelled).rpartition("|")[::2]: column for spelled, column in columns.items()}
        jobs = [
            _job(name, times, *(counts.get((name, letter), nothing) for letter in _LETTERS))
            for name in {name for name, _ in counts}
            if match.lower() in name.lower()
        ]
        return sorted(jobs, key=lambda job: (-job.ms, -job.processed, job.name))

    def for_job(
        self, name: str, *, minutes: int | None = None, hours: int | None = None
    ) -> JobMetrics:
        """One job. Cost: one round trip; a command of O(1) for each minute (or ten minutes).

        Args:
            minutes, hours: as for :meth:`top_jobs`.
        """
        times, key = self._period(minutes, hours)
        with self._api.redis.pipeline(transaction=False) as pipe:
            for at in times:
                pipe.hmget(key(at), [f"{name}|{letter}" for letter in _LETTERS])
            found = pipe.execute()
        processed, failed, ms = (list(map(integer, column)) for column in zip(*found, strict=True))
        return _job(name, times, processed, failed, ms)

    def histogram(self, name: str, *, minutes: int = 60) -> Histogram:
        """How long one job took. Cost: one round trip; a command of O(1) for each minute.

        Args:
            minutes: of the last so many, up to 480; there is none for longer periods.
        """
        times, _ = self._period(minutes, None)
        with self._api.redis.pipeline(transaction=False) as pipe:
            for at in times:
                key = self._api.keys.metrics_histogram(name, at)
                ask(pipe, "BITFIELD_RO", key, *_HISTOGRAM)
            found: list[list[int]] = pipe.execute()
        sums = tuple(map(sum, zip(*found, strict=True)))
        return Histogram(sums, tuple(zip(times, map(tuple, found), strict=True)))

    def _period(
        self, minutes: int | None, hours: int | None
    ) -> tuple[list[float], Callable[[float], str]]:
        """The beginnings of its parts, oldest first, and what spells the key of one."""
        if minutes is not None and hours is not None:
            raise ArgumentError("ask for so many minutes or so many hours, not both")
        if hours is not None:
            if not 1 <= hours <= MOST_HOURS:
                raise ArgumentError(f"hours must be between 1 and {MOST_HOURS}, not {hours}")
            step, count, key = 600, hours * 6, self._api.keys.metrics_ten_minutes
        else:
            minutes = 60 if minutes is None else minutes
            if not 1 <= minutes <= MOST_MINUTES:
                raise ArgumentError(f"minutes must be between 1 and {MOST_MINUTES}, not {minutes}")
            step, count, key = 60, minutes, self._api.keys.metrics_minute
        last = clock.now() // step * step
        return [last - step * back for back in reversed(range(count))], key


def _job(
    name: str, times: list[float], processed: list[int], failed: list[int], ms: list[int]
) -> JobMetrics:
    return JobMetrics(
        name,
        processed=sum(processed),
        failed=sum(failed),
        ms=sum(ms),
        _columns=(times, processed, failed, ms),
    )
