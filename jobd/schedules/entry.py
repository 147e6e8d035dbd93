"""An entry: a schedule with the payload of its job, as it is stored in Redis.

Workers store it; keepers push from it without the application's code. What depends on the tick is
filled in then: the job's id, its times, and which tick it is.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from jobd.errors import PayloadError
from jobd.schedules.line import Line
from jobd.schedules.schedule import CatchUp, Overlap
from jobd.wire import attachments, payload
from jobd.wire.attachments import Lock
from jobd.wire.json_value import UNREADABLE
from jobd.wire.payload import Payload

VERSION = 1


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A schedule and its job.

    Attributes:
        app: the application that owns it.
        name: its own among those of the application.
        job: class name of the job.
        payload: fields of the payload, without those that depend on the tick.
        expires_in: seconds after its due time in which the job may start.
        foreign: the job belongs to a program of another language.
    """

    v: int = VERSION
    app: str
    name: str
    job: str
    queue: str
    cron: str = ""
    tz: str = "UTC"
    every: float = 0.0
    catch_up: CatchUp = "last"
    grace: float
    overlap: Overlap
    jitter: float = 0.0
    foreign: bool = False
    payload: Payload
    expires_in: float | None = None

    @property
    def id(self) -> str:
        return id_of(self.app, self.name)

    @property
    def line(self) -> Line:
        return Line(self.cron, self.tz, self.every)


_decode = msgspec.json.Decoder(Entry).decode
encode = msgspec.json.Encoder().encode


def decode(raw: bytes) -> Entry:
    """Read a stored entry.

    Raises:
        PayloadError: it is none, or of a version that this one does not know.
    """
    try:
        entry = _decode(raw)
    except UNREADABLE as error:
        raise PayloadError(f"not a schedule: {error}") from None
    if entry.v != VERSION:
        raise PayloadError(f"a schedule of version {entry.v}")
    return entry


def id_of(app: str, name: str) -> str:
    """The id of the schedule of that name.

    >>> id_of("shop", "report")
    '779c728c4b5773b7'
    """
    return hashlib.sha256(payload.to_json([app, name])).hexdigest()[:16]


def jid_of(schedule: str, tick: float) -> str:
    """The id of the job of a tick: always the same for one tick.

    >>> jid_of("779c728c4b5773b7", 1795416000.0)
    '82346966a54e4a006c4e56e5'
    """
    return hashlib.sha256(f"{schedule}:{tick!r}".encode()).hexdigest()[:24]


class Tick(NamedTuple):
    """The job of a tick.

    Attributes:
        raw: payload without the time of the push to a queue.
        due: when it is due (jitter); None for at once.
    """

    raw: bytes
    jid: str
    due: float | None
    lock: Lock | None
    result: float | None


def lock_of(entry: Entry) -> Lock | None:
    """The lock that keeps a tick's job alone: its own, or that of ``overlap="skip"``."""
    own = attachments.read(entry.payload.get(attachments.FIELD)).lock
    if own is not None or entry.overlap == "allow":
        return own
    return Lock(attachments.digest("jobd:periodic", entry.id), held=True)


def job_of(entry: Entry, tick: float, now: float, jid: str | None = None) -> Tick:
    """The job of a tick that is pushed at *now*.

    Args:
        jid: of a tick that a person asks for.
    """
    jid = jid or jid_of(entry.id, tick)
    due = tick
    if entry.jitter:
        due += round(int(jid[:8], 16) / 0x1_0000_0000 * entry.jitter, 3)
    made = {**entry.payload, "jid": jid, "created_at": max(now, tick)}
    lock = lock_of(entry)
    expires_at = None if entry.expires_in is None else max(due, now) + entry.expires_in
    attached = attachments.read(made.pop(attachments.FIELD, None))
    made[attachments.FIELD] = attachments.written(
        msgspec.structs.replace(
            attached, lock=lock, expires_at=expires_at, tick=tick, schedule=entry.name
        )
    )
    return Tick(payload.encode_again(made), jid, due if due > now else None, lock, attached.result)
