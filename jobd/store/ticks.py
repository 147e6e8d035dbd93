"""The script of ticks, called by keepers and by users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import redis

from jobd.errors import PayloadError
from jobd.schedules.entry import Entry, Tick
from jobd.schedules.line import Line
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.protocol import Argument
from jobd.wire.json_value import UNREADABLE

STEPS = 50
"""Most steps in one call."""


class TickCall(NamedTuple):
    """A step of a schedule.

    Attributes:
        tick: where it is; None for a job that a person asks for.
        job: what is pushed; None for nothing.
        why: it is not pushed.
    """

    schedule: str
    tick: float | None
    then: float
    queue: str
    job: Tick | None
    why: str = ""
    who: str = ""

    @property
    def jid(self) -> str:
        return "" if self.job is None else self.job.jid


class Taken(NamedTuple):
    """What became of a step; for a skipped one the job that lives."""

    what: str
    holder: str


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a tick, as it is kept.

    Attributes:
        what: ``fired``, ``late``, ``missed``, ``skipped`` or ``run`` (a person asked for it).
        at: when that happened (server time, s).
        tick: which one.
        jid: of the job that was pushed.
        holder: of the job because of which it was skipped.
        why: it was missed.
        then: the next tick after it.
        who: asked for it.
    """

    what: str
    at: float
    tick: float = 0.0
    jid: str = ""
    holder: str = ""
    why: str = ""
    then: float = 0.0
    who: str = ""


class _Rest(msgspec.Struct, omit_defaults=True):
    """The part of a record that the script does not write."""

    tick: float
    jid: str = ""
    why: str = ""
    then: float = 0.0
    who: str = ""


_to_json = msgspec.json.Encoder().encode
_read_record = msgspec.json.Decoder(Record).decode


def read_record(raw: bytes) -> Record | None:
    """A kept record; None if something else has written it."""
    try:
        return _read_record(raw)
    except UNREADABLE:
        return None


def changed(entry: Entry, own: bytes | None) -> Entry:
    """The entry with the line to which a person has changed it.

    Raises:
        PayloadError: that is none.
    """
    if own is None:
        return entry
    try:
        cron, tz, every = msgspec.json.decode(own, type=tuple[str, str, float])
    except UNREADABLE as error:
        raise PayloadError(f"not a changed line: {error}") from None
    return msgspec.structs.replace(entry, cron=cron, tz=tz, every=every)


def line_json(line: Line) -> bytes:
    """A line as it is stored."""
    return _to_json([line.cron, line.tz, line.every])


def places(keys: Keys, calls: Sequence[TickCall]) -> list[str]:
    """The keys of the script."""
    found = [keys.periodic, keys.queues, keys.schedule, keys.departed]
    for call in calls:
        found += (
            keys.schedule_of(call.schedule),
            keys.ticks(call.schedule),
            keys.queue(call.queue),
        )
    return found


def words(calls: Sequence[TickCall]) -> list[Argument]:
    """The arguments of the script."""
    found: list[Argument] = []
    for call in calls:
        job, tick = call.job, call.tick
        about = _Rest(
            job_tick(call), call.jid, call.why, 0.0 if tick is None else call.then, call.who
        )
        found += (call.schedule, "" if tick is None else repr(tick), repr(call.then))
        if job is None:
            found += ("", "", call.queue, "", "", "", 0, "")
        else:
            lock = job.lock
            found += (job.raw, job.jid, call.queue, "" if job.due is None else repr(job.due))
            found += ("" if lock is None else lock.key,)
            found += ("" if lock is None or lock.seconds is None else repr(lock.seconds),)
            found += (int(lock is not None and lock.until == "expiry"),)
            found += ("" if job.result is None else repr(float(job.result)),)
        found.append(_to_json(about)[1:])
    return found


def job_tick(call: TickCall) -> float:
    """The tick to record; for a job that a person asks for the moment."""
    return call.then if call.tick is None else call.tick


class TickCalls:
    """Calls of the script, some steps in each: made first, and sent later in one round trip.

    The server takes them one after the other, and others in between.
    """

    def __init__(self, client: redis.Redis, keys: Keys, calls: Sequence[TickCall]) -> None:
        self._client = client
        parts = [calls[start : start + STEPS] for start in range(0, len(calls), STEPS)]
        self._made = [(places(keys, part), words(part)) for part in parts]

    def send(self) -> Iterator[Taken]:
        """Take the steps; what became of each, in their order.

        Raises:
            redis.RedisError: the server refused some, after what became of those before, or did
                not answer.
        """
        answers = self._executed(self._made)
        if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            # Sent again, what was taken is not the next tick any more.
            self._client.script_load(scripts.TICK.source)
            answers = self._executed(self._made)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            yield from outcomes(answer)

    def _executed(
        self, made: Sequence[tuple[list[str], list[Argument]]]
    ) -> list[list[bytes] | Exception]:
        if not made:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for keys, arguments in made:
            pipeline.evalsha(scripts.TICK.digest, len(keys), *keys, *arguments)
        return pipeline.execute(raise_on_error=False)


def outcomes(told: Sequence[bytes]) -> Iterator[Taken]:
    """What the script has answered."""
    for what, holder in zip(told[1::2], told[2::2], strict=True):
        yield Taken(what.decode(), holder.decode())
