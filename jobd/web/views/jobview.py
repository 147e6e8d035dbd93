"""One job as its page shows it: what happened when, and its payload without secrets."""

from __future__ import annotations

import inspect
import re
import time
from dataclasses import dataclass

import msgspec

from jobd.api import (
    Api,
    Family,
    JobRecord,
    Reason,
    SortedEntry,
    Work,
    family_of,
    why_in_flight,
    why_queued,
    why_waiting,
)
from jobd.api.display import hidden
from jobd.api.features.absent import why_held_back
from jobd.api.features.held_back import LOCK
from jobd.api.records import is_plain
from jobd.api.search.groups import is_library
from jobd.errors import ArgumentError, UnknownJobError
from jobd.jobs.registry import Registry
from jobd.settings.daemon import Config
from jobd.text.printable import shortened
from jobd.text.translatable import Text
from jobd.web import job_address
from jobd.web.job_address import Place
from jobd.web.views.present import clip, duration, first_line
from jobd.wire.json_value import UNWRITABLE
from jobd.wire.options import CALL_FIELDS, DEFAULTS

SEARCH = 0.2
"""Seconds for which the page of a job searches for its relatives."""

MOST_SHOWN = 100_000
"""Characters of a payload, or of an argument, that a page shows."""

_LINE = 100
_MOST_LINES = 200
_MOST_FIELDS = 50
_MOST_ARGUMENTS = 100
_SORTED_KEY = re.compile(r"-?[\d.]+(?:e[+-]?\d+)?-(.+)")

_SHOWN_ELSEWHERE = CALL_FIELDS | {
    *DEFAULTS,
    *("tags", "bid", "display_class", "wrapped", "retry_for", "traceparent", "tracestate"),
}

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened to a job, or will.

    Attributes:
        tone: ``good``, ``bad``, ``warn``, or nothing.
    """

    text: Text
    at: float
    tone: str = ""
    detail: str = ""

    @property
    def is_ahead(self) -> bool:
        return self.at > time.time()


def why(api: Api, place: Place, job: JobRecord) -> list[Reason]:
    """Why it is not running."""
    if place.set == "work":
        return why_in_flight(api, job.jid)
    if place.set == LOCK:
        return why_held_back(api, job)
    if isinstance(job, SortedEntry):
        return why_waiting(api, job)
    return why_queued(api, job, job.before)


def timeline(job: JobRecord, place: Place, started: float | None) -> list[Event]:
    """What is known of its life, the earliest first.

    Args:
        started: when it was started, if it runs.
    """
    created, enqueued = job.created_at, job.enqueued_at
    events = []
    queue = clip(job["queue"] if isinstance(job["queue"], str) else job.queue, 60)
    if created is not None and enqueued is not None and abs(enqueued - created) < 0.05:
        events.append(Event(Text("Pushed into queue %(queue)s", queue=queue), created))
    else:
        if created is not None:
            events.append(Event(Text("Pushed"), created))
        if enqueued is not None:
            events.append(Event(Text("Put into queue %(queue)s", queue=queue), enqueued))
    error = (
        clip(f"{job.error_class}: {first_line(job.error_message)}", 160) if job.error_class else ""
    )
    failures = (job.retry_count or 0) + 1
    if job.failed_at is not None:
        detail = error if job.retried_at is None else ""
        events.append(Event(Text("First failure"), job.failed_at, "bad", detail))
    if job.retried_at is not None:
        text = Text("Failed (attempt %(number)s)", number=failures)
        events.append(Event(text, job.retried_at, "bad", error))
    if started is not None:
        # Told in whole seconds: it began in the second of its push, but not before that.
        pushed = enqueued if enqueued is not None else created
        if pushed is not None and started < pushed < started + 1:
            started = pushed
        events.append(Event(Text("Started"), started, "good"))
    if place.set != "dead" and (expires := job.attachments.expires_at) is not None:
        events.append(Event(Text("Expires"), expires, "warn"))
    if isinstance(job, SortedEntry):
        texts = {
            "retry": (Text("Attempt number %(number)s", number=failures + 1), "warn"),
            "schedule": (Text("Due"), "warn"),
            "dead": (Text("Died"), "bad"),
        }
        text, tone = texts.get(place.set, (Text("In this set"), ""))
        events.append(Event(text, job.score, tone))
    return sorted(events, key=lambda event: event.at)


def running(api: Api, place: Place) -> Work | None:
    """The job there as it runs, if it does."""
    return api.work.find_work(place.key) if place.set == "work" else None


@dataclass(frozen=True, slots=True)
class Trace:
    """The lines of a backtrace, each with whether it is the application's."""

    lines: tuple[tuple[str, bool], ...]
    more: int


def trace(job: JobRecord) -> Trace:
    """The backtrace of the last failure."""
    lines = job.error_backtrace
    cut = (shortened(line, 1000) for line in lines[:_MOST_LINES])
    shown = tuple((line, not is_library(line)) for line in cut)
    return Trace(shown, max(0, len(lines) - _MOST_LINES))


def arguments(job: JobRecord, registry: Registry) -> list[tuple[str, str]]:
    """The arguments as JSON, by their names, as far as *registry* knows the job, or by their
    places; secrets hidden."""
    if job.malformed:
        return []
    names = _parameters(job, registry)
    found = [
        (names[at] if at < len(names) else str(at), short(value))
        for at, value in enumerate(job.display_args[:_MOST_ARGUMENTS])
    ]
    named = [(clip(name, 100), short(value)) for name, value in job.display_kwargs.items()]
    return (found + named)[:_MOST_ARGUMENTS]


def _parameters(job: JobRecord, registry: Registry) -> list[str]:
    """The names of the positional parameters of a job that *registry* knows."""
    try:
        signature = registry.lookup(job.klass).signature
    except UnknownJobError:
        return []
    return [each.name for each in signature.parameters.values() if each.kind in _POSITIONAL]


def retries(job: JobRecord) -> str:
    """How often it is tried again, for people."""
    window, retry = job["retry_for"], job["retry"]
    if type(window) is int or type(window) is float:
        return Text("for %(time)s after the first failure", time=duration(window))
    if retry is False:
        return Text("none")
    if type(retry) is int:
        return str(min(retry, 10**9))
    return Text("%(most)s, the default", most=Config().max_retries)


def payload(job: JobRecord) -> str:
    """All of it as JSON; what is encrypted, or shown elsewhere unpacked, is left out."""
    if not job.item:
        return clip(job.display_raw, MOST_SHOWN)
    item = hidden(job.item) if job.encrypted else dict(job.item)
    if isinstance(item.get("error_backtrace"), str):
        item["error_backtrace"] = f"[{len(job.error_backtrace)} lines, packed]"
    return pretty(item)


def pretty(value: object) -> str:
    """*value* as indented JSON, at most :data:`MOST_SHOWN` characters of it."""
    try:
        text = as_json(value)
    except ValueError:
        try:
            text = repr(value)
        except (ValueError, RecursionError):
            text = "…"  # a number of thousands of digits, or thousands of brackets
    return clip(text, MOST_SHOWN)


def short(value: object) -> str:
    """*value* as JSON, in one line if it fits there."""
    try:
        line = msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
    except UNWRITABLE:
        line = ""
    return line if 0 < len(line) <= _LINE else pretty(value)


def as_json(value: object) -> str:
    """All of *value* as indented JSON.

    Raises:
        ValueError: JSON cannot carry it.
    """
    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except UNWRITABLE as error:
        raise ValueError(str(error)) from None


def others(job: JobRecord) -> list[tuple[str, str]]:
    """Fields that the page shows nowhere else, such as options, and marks of other programs."""
    found = [
        (clip(key, 100), clip(pretty(value), 500))
        for key, value in job.item.items()
        if key not in _SHOWN_ELSEWHERE
    ]
    return found[:_MOST_FIELDS]


def lineage(job: JobRecord) -> list[tuple[Text, str]]:
    """Where it comes from: what it belongs to, and the processes that died on it."""
    found = [(Text("Batch"), clip(job.bid, 100))] if job.bid else []
    hanging = job.attachments
    if hanging.snoozes:
        found.append((Text("Times that it has snoozed"), f"{hanging.snoozes:,}"))
    if job.traceparent:
        found.append((Text("Trace"), clip(job.traceparent, 100)))
    for name, value in list((hanging.context or {}).items())[:_MOST_FIELDS]:
        found.append((Text("Context"), f"{clip(name, 60)} = {clip(short(value), 500)}"))
    crashes, death = job["crashes"], job["recovered_from"]
    if type(crashes) is int:
        found.append((Text("Processes that died while it ran"), f"{min(crashes, 10**9):,}"))
    if isinstance(death, dict):
        found.append((Text("The last one"), clip(str(death.get("owner", "?")), 200)))
        found.append((Text("Cause of its death"), clip(str(death.get("cause", "?")), 300)))
    return found


def has_family(job: JobRecord) -> bool:
    """Whether parents are recorded where this job was pushed, as far as one can tell from it."""
    hanging = job.attachments
    return bool(hanging.root or hanging.parent or hanging.context or job.traceparent)


def family(api: Api, job: JobRecord) -> Family:
    """Its ancestors, and those of its children that a short search finds."""
    return family_of(api, job, seconds=SEARCH)


def jid_of(place: Place) -> str:
    """The id of the job that was there; empty if the key does not tell.

    >>> jid_of(Place("retry", "1795416072.5-a-c")), jid_of(Place("queue:a", "ab~0123456789abcdef"))
    ('a-c', 'ab')
    """
    if place.set in job_address.PAGES:
        found = _SORTED_KEY.fullmatch(place.key)
        jid = found[1] if found else ""
    else:
        jid = place.key.partition("~")[0]
    return jid if is_plain(jid) else ""


def parse_place(name: str, key: str) -> Place:
    """The place that an address means.

    Raises:
        ArgumentError: it means none.
    """
    if not name or not key:
        raise ArgumentError(Text("the address of a job says where it is: /job?set=…&key=…"))
    return Place(name, key[:300])
