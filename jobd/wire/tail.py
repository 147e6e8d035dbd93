"""The messages in which workers report what happens to their jobs, for ``jobctl tail``.

They go to a channel and nowhere else: whoever does not listen misses them. They name a job and say
what happened to it; its arguments are not in them. What a payload says is cut before it is sent.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from jobd.text.printable import cut, encode, text_of
from jobd.wire.json_value import UNREADABLE, JsonValue

VERSION = 1
LONGEST = 262_144
"""Bytes of a message."""

_TEXT, _ERROR, _TAGS = 200, 500, 20
"""Characters of a name, and of an error; tags of a job."""

_END = 253_402_214_400
"""Seconds since 1970 from which on a moment may have no date: the last day of the year 9999."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened to a job.

    Attributes:
        at: when (s since the epoch).
        event: ``started``, ``done``, ``failed``, ``cancelled``, ``expired``, ``snoozed``, or
            ``pushed``, which no worker reports.
        class_: its class.
        wrapped: the class inside, for Active Job.
        seconds: how long it ran; None if that was not measured.
        outcome: of a failure: ``retry``, ``dead`` or ``discarded``.
        error: class and message of what it raised.
    """

    at: Annotated[float, msgspec.Meta(ge=0, lt=_END)]
    event: str
    class_: str = msgspec.field(name="class")
    jid: str
    queue: str
    wrapped: str = ""
    tags: tuple[str, ...] = ()
    seconds: float | None = None
    outcome: str = ""
    error: str = ""


class Report(msgspec.Struct, frozen=True):
    """What happened in a worker process since its last report.

    Attributes:
        process: its identity.
        left_out: how many events are not among *events*, because there were too many.
    """

    v: Annotated[int, msgspec.Meta(ge=1)]
    process: str
    left_out: int
    events: tuple[Event, ...]


class _Names(msgspec.Struct, gc=False):
    class_: str = msgspec.field(name="class", default="")
    jid: JsonValue = ""
    wrapped: JsonValue = None
    tags: JsonValue = None


_names = msgspec.json.Decoder(_Names).decode
_report = msgspec.json.Decoder(Report).decode


def event(
    at: float,
    what: str,
    queue: str,
    payload: bytes,
    seconds: float | None = None,
    outcome: str = "",
    error: str = "",
) -> Event:
    """What happened to the job in *payload*; one that cannot be read has no names.

    >>> event(1.0, "started", "mail", b'{"class":"A","jid":"1f","args":[7],"tags":["vip"]}')
    ... # doctest: +NORMALIZE_WHITESPACE
    Event(at=1.0, event='started', class_='A', jid='1f', queue='mail', wrapped='', tags=('vip',),
          seconds=None, outcome='', error='')
    """
    try:
        names = _names(payload)
    except UNREADABLE:
        names = _Names()
    tags = names.tags if isinstance(names.tags, list) else []
    return Event(
        at,
        what,
        cut(names.class_, _TEXT),
        "" if names.jid is None else text_of(names.jid, _TEXT),
        cut(queue, _TEXT),
        cut(names.wrapped, _TEXT) if isinstance(names.wrapped, str) else "",
        tuple(text_of(tag, _TEXT) for tag in tags[:_TAGS]),
        seconds,
        outcome,
        cut(error, _ERROR),
    )


def message(process: str, events: tuple[Event, ...], left_out: int) -> bytes:
    """What to publish, of at most :data:`LONGEST` bytes."""
    return encode(Report(VERSION, process, left_out, events), LONGEST)


def read(said: object) -> Report | None:
    """The report in a message; None if it is of another version, or not a message.

    >>> read(message("web1:7:c0", (), 3))
    Report(v=1, process='web1:7:c0', left_out=3, events=())
    >>> read(b'{"v":2}'), read(b"{}"), read(1)
    (None, None, None)
    >>> late = b'{"at":1e300,"event":"done","class":"A","jid":"1","queue":"a"}'
    >>> read(b'{"v":1,"process":"web1:7:c0","left_out":0,"events":[' + late + b"]}")
    """
    if not isinstance(said, bytes) or len(said) > LONGEST:
        return None
    try:
        found = _report(said)
    except UNREADABLE:
        return None
    return found if found.v == VERSION else None
