"""Words for people: times, sizes, and a job as it is called."""

from __future__ import annotations

import math
import time

import msgspec

from jobctl.daemon.display import duration
from jobd.api.features.attached import when
from jobd.api.queues.queues import QueueSummary
from jobd.api.records import JobRecord
from jobd.text.counting import counted
from jobd.wire.json_value import UNWRITABLE

_SHOWN = 500
"""Characters of the arguments of a job in a table; the table cuts them to fit."""


def ago(at: float | None, now: float | None = None) -> str:
    """A time, seen from now.

    >>> ago(1000.0, 1090.0), ago(1090.0, 1000.0), ago(None)
    ('1m 30s ago', 'in 1m 30s', '')
    """
    if at is None or not math.isfinite(at):
        return ""
    gap = (time.time() if now is None else now) - at
    if abs(gap) > 10_000 * 86400:
        return when(at)
    return f"{duration(gap)} ago" if gap >= 0 else f"in {duration(-gap)}"


def moment(at: float | None) -> str:
    """A time, and how far away it is; empty if there is none."""
    if at is None or not math.isfinite(at):
        return ""
    return f"{when(at).removeprefix('at ')} ({ago(at)})"


def kept_in_trash(count: int) -> str:
    """
    >>> kept_in_trash(1), kept_in_trash(2)
    ('1 job stays in the trash', '2 jobs stay in the trash')
    """
    return f"{counted(count, 'job')} {'stays' if count == 1 else 'stay'} in the trash"


def stay(count: int, why: object) -> str:
    """Says of so many jobs that an action could do nothing to them, and why to the first.

    >>> stay(1, "A unique job."), stay(2, "A unique job.")
    ('1 job stays. A unique job.', '2 jobs stay. The first one: A unique job.')
    """
    return f"{counted(count, 'job')} {'stays.' if count == 1 else 'stay. The first one:'} {why}"


def size(count: int) -> str:
    """Bytes.

    >>> size(512), size(20_000), size(3_000_000)
    ('512 B', '20 KB', '3.0 MB')
    """
    if count < 10_000:
        return f"{count:,} B"
    return f"{count / 1e3:,.0f} KB" if count < 1_000_000 else f"{count / 1e6:,.1f} MB"


def arguments(job: JobRecord, most: int = _SHOWN) -> str:
    """The arguments as they stand in a call, secrets hidden, or the beginning of them.

    >>> arguments(JobRecord(b'{"class":"A","args":[1,"x"],"kwargs":{"loud":true}}'))
    '1, "x", loud=true'
    """
    parts, room = [], most
    named = [*((("", value)) for value in job.display_args), *job.display_kwargs.items()]
    for name, value in named:
        text = f"{name[:100]}={as_json(value, room)}" if name else as_json(value, room)
        parts.append(text)
        room -= len(text)
        if room <= 0:
            break
    text = ", ".join(parts)
    return text if len(text) <= most else text[: most - 1] + "…"


def lateness(queue: QueueSummary) -> str:
    """The share of a queue's jobs that started too late in the last hour; "" without objective.

    >>> from jobd.api.queues.slo import Slo
    >>> lateness(QueueSummary("a", 0, 0.0, False, Slo(30.0, 9, 1, None, 0.0244, 0.1)))
    '2.44% > 30s'
    """
    slo = queue.slo
    if slo is None:
        return ""
    some = "-" if slo.burn_1h is None else f"{100 * slo.burn_1h:.3g}%"
    return f"{some} > {duration(slo.objective)}"


def as_json(value: object, most: int) -> str:
    """*value* as JSON, or the beginning of that."""
    if isinstance(value, str):
        value = value[:most]
    try:
        return msgspec.json.encode(value)[: 4 * most].decode(errors="ignore")[:most]
    except UNWRITABLE:
        return "…"


def name_of(job: JobRecord) -> str:
    """The class of a job; what is no job is called so."""
    return job.display_class or "(malformed)"


def error_of(job: JobRecord) -> str:
    """The error of a job in a line."""
    message = job.error_message[:1000].partition("\n")[0]
    return ": ".join(filter(None, (job.error_class[:200], message)))
