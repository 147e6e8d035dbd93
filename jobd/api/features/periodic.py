"""Periodic jobs: which there are, when they are due, what became of their ticks, and actions.

What a person changes holds until the next deploy of the application that owns the schedule; only a
pause stays.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from jobd.api.session import Change, Session
from jobd.errors import ArgumentError, ConflictError, PayloadError
from jobd.schedules import entry as entries
from jobd.schedules.entry import Entry
from jobd.schedules.line import Line, read
from jobd.schedules.schedule import checked
from jobd.store import scripts
from jobd.store.protocol import Argument
from jobd.store.ticks import (
    Record,
    TickCall,
    changed,
    line_json,
    outcomes,
    places,
    read_record,
    words,
)
from jobd.text.translatable import Text
from jobd.wire import payload

MOST = 5000
"""Most schedules that are listed."""


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """A schedule and its job.

    Attributes:
        id: its id.
        entry: what its application has stored, with the line that holds now.
        next: its next tick (seconds since 1970); None if it is paused.
        paused: since when it is (seconds since 1970); None if it is not.
        changed: whether a person has changed its line.
        first: when it was first seen.
        last: what became of its last tick; None if none has come.
    """

    id: str
    entry: Entry
    next: float | None
    paused: float | None
    changed: bool
    first: float
    last: Record | None
    own: bytes = b""

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def line(self) -> Line:
        return self.entry.line

    def upcoming(self, count: int = 5) -> list[float]:
        """Its next ticks; none if it is paused."""
        if self.next is None:
            return []
        return [self.next, *itertools.islice(self._follow(self.next), max(0, count - 1))]

    def between(self, begin: float, end: float, most: int = 1000) -> list[float]:
        """Its ticks in that time, whether it is paused or not."""
        found = itertools.takewhile(lambda at: at < end, self._follow(begin - 0.001))
        return list(itertools.islice(found, most))

    def _follow(self, at: float) -> Iterator[float]:
        """The ticks after *at*; none if somebody has written a line that is none."""
        try:
            yield from self.line.follow(at)
        except ArgumentError:
            return


class Lead(NamedTuple):
    """Which keeper leads.

    Attributes:
        holder: its identity; "" if none does.
        token: the number of its lead.
        since: when that began (seconds since 1970).
        until: when its lease ends, if it is not renewed.
    """

    holder: str
    token: int
    since: float
    until: float

    def leads(self, now: float) -> bool:
        """Whether it still does, in the server's time."""
        return bool(self.holder) and now < self.until


class PeriodicJobs:
    """The periodic jobs of all applications.

    Example:
        >>> from jobd.api import Api
        >>> for job in Api().periodic:  # doctest: +SKIP
        ...     print(job.name, job.line, job.next)
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def __iter__(self) -> Iterator[PeriodicJob]:
        """All of them, the next one first. Cost: O(schedules), three round trips."""
        return iter(self.all())

    def __len__(self) -> int:
        return self._session.redis.zcard(self._session.keys.periodic)

    def all(self, most: int = MOST, start: int = 0) -> list[PeriodicJob]:
        """See :meth:`__iter__`; at most *most*, from the one at *start* on."""
        keys, redis = self._session.keys, self._session.redis
        found = cast(
            "list[tuple[bytes, float]]",
            redis.zrange(keys.periodic, start, start + most - 1, withscores=True),
        )
        return self._read([(one.decode(errors="replace"), float(at)) for one, at in found])

    def __getitem__(self, name: str) -> PeriodicJob:
        """The one with this id, or this name.

        Raises:
            KeyError: there is none.
            ArgumentError: several applications have one of this name.
        """
        score = self._session.redis.zscore(self._session.keys.periodic, name)
        if score is not None and (found := self._read([(name, score)])):
            return found[0]
        named = [one for one in self if one.name == name]
        if not named:
            raise KeyError(name)
        if len(named) > 1:
            apps = ", ".join(f"{one.id} ({one.entry.app})" for one in named)
            raise ArgumentError(
                f"several applications have a periodic job {name}: {apps}; give an id"
            )
        return named[0]

    def _read(self, places: Sequence[tuple[str, float]]) -> list[PeriodicJob]:
        if not places:
            return []
        pipeline = self._session.redis.pipeline(transaction=False)
        for name, _ in places:
            key = self._session.keys.schedule_of(name)
            pipeline.hmget(key, ["entry", "own", "paused", "first"])
            pipeline.lindex(self._session.keys.ticks(name), 0)
        told = pipeline.execute(raise_on_error=False)
        found = []
        for (name, score), fields, last in zip(places, told[::2], told[1::2], strict=True):
            if isinstance(fields, Exception) or fields[0] is None:
                continue
            raw, own, paused, first = fields
            try:
                made = changed(entries.decode(raw), own)
            except PayloadError:
                continue  # written by hand, or by a newer version
            record = read_record(last) if isinstance(last, bytes) else None
            found.append(
                PeriodicJob(
                    name,
                    made,
                    None if score == float("inf") else score,
                    _number(paused),
                    own is not None,
                    _number(first) or 0.0,
                    record,
                    own or b"",
                )
            )
        return found

    def ticks(self, job: PeriodicJob) -> list[Record]:
        """What became of its last ticks, at most 20, the newest first."""
        key = self._session.keys.ticks(job.id)
        return _records(cast("list[bytes]", self._session.redis.lrange(key, 0, 19)))

    def ticks_of(self, jobs: Sequence[PeriodicJob]) -> list[list[Record]]:
        """The same of several, in one round trip."""
        pipeline = self._session.redis.pipeline(transaction=False)
        for job in jobs:
            pipeline.lrange(self._session.keys.ticks(job.id), 0, 19)
        told = pipeline.execute(raise_on_error=False) if jobs else []
        return [_records(one) if isinstance(one, list) else [] for one in told]

    def leader(self) -> Lead:
        """Which keeper leads."""
        key = self._session.keys.jobd_leader
        fields = self._session.redis.hmget(key, ["holder", "token", "since", "until"])
        holder, token, since, until = cast("list[bytes | None]", fields)
        name = (holder or b"").decode(errors="replace")
        return Lead(name, int(_number(token) or 0), _number(since) or 0.0, _number(until) or 0.0)

    # -- acting ----------------------------------------------------------------------------------

    def pause(self, job: PeriodicJob) -> bool:
        """Push no more of its ticks; returns False if it is paused already, or gone."""
        return self._alter(job, "pause", 0.0)

    def resume(self, job: PeriodicJob) -> bool:
        """Push its ticks again, from now on; returns False if it is not paused, or gone."""
        return self._alter(job, "resume", job.line.after(self._now()))

    def change(
        self,
        job: PeriodicJob,
        cron: str | None = None,
        *,
        every: float | None = None,
        tz: str | None = None,
    ) -> bool:
        """Change when it is due, until the next deploy; from now on. Returns False if it is gone.

        Args:
            cron: the new line; also ``@every 90s``.
            every: seconds between two ticks, instead of *cron*.
            tz: time zone of the line; by default the one that it has.

        Raises:
            ArgumentError: it is malformed, or never due; see :class:`jobd.Schedule`.
            ConflictError: it was changed since *job* was read.
        """
        interval = cron is None or cron.lstrip().startswith("@every")
        line = read(cron, every, job.entry.tz if tz is None and not interval else tz)
        checked(line, {"jitter": job.entry.jitter})
        return self._alter(job, "change", line.after(self._now()), line_json(line))

    def reset(self, job: PeriodicJob) -> bool:
        """Take back a change of its line, whichever it is; returns False if there is none."""
        raw = cast(
            "bytes | None",
            self._session.redis.hget(self._session.keys.schedule_of(job.id), "entry"),
        )
        if raw is None:
            return False
        return self._alter(job, "reset", entries.decode(raw).line.after(self._now()))

    def run(self, job: PeriodicJob) -> str:
        """Push its job now, beside its ticks; returns its id.

        Raises:
            ConflictError: the job of an earlier tick lives, and they must not overlap; or it is
                gone, or its queue or its own keys cannot be written.
        """
        now = self._now()
        tick = entries.job_of(job.entry, now, now, payload.new_jid())._replace(due=None)
        call = TickCall(job.id, None, now, job.entry.queue, tick, who=self._session.who)
        change = Change(self._session, "run schedule", f"periodic:{job.name}")
        keys = places(self._session.keys, [call])
        [taken] = outcomes(change.call(scripts.TICK, keys, words([call])))
        if taken.what == "skipped":
            raise ConflictError(
                Text(
                    "%(name)s was not pushed: the job %(jid)s of an earlier tick has not ended, "
                    "and they must not overlap.",
                    name=job.name,
                    jid=taken.holder,
                )
            )
        if taken.what in ("refused", "unusable"):
            raise ConflictError(
                Text(
                    "%(name)s was not pushed: a key that it needs, %(queue)s or one of its own, "
                    "has another type.",
                    name=job.name,
                    queue=self._session.keys.queue(job.entry.queue),
                )
            )
        if taken.what != "run":
            raise ConflictError(Text("%(name)s was not pushed: it is gone.", name=job.name))
        return tick.jid

    def _alter(self, job: PeriodicJob, act: str, due: float, line: bytes = b"") -> bool:
        keys = self._session.keys
        change = Change(self._session, f"{act} schedule", f"periodic:{job.name}")
        arguments: list[Argument] = [job.id, act, repr(due), line, job.own]
        done = change.call(scripts.ALTER, [keys.periodic, keys.schedule_of(job.id)], arguments)
        if done < 0:
            raise ConflictError(
                Text("The line of %(name)s was changed meanwhile; look again.", name=job.name)
            )
        return bool(done)

    def _now(self) -> float:
        seconds, micros = self._session.redis.time()
        return seconds + micros / 1e6


def _records(raw: Sequence[bytes]) -> list[Record]:
    return [record for one in raw if (record := read_record(one)) is not None]


def _number(raw: object) -> float | None:
    try:
        return float(raw) if isinstance(raw, bytes) else None
    except ValueError:
        return None
