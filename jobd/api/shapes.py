"""What ``/api/v1`` and ``jobctl --json`` return. Times are seconds since 1970 (UTC), durations
seconds, sizes bytes."""

from __future__ import annotations

import math
import time
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from jobd.api.audit import AuditEntry
from jobd.api.processes import Process
from jobd.api.queues.queues import QueueSummary
from jobd.api.reading import Page
from jobd.api.records import JobRecord
from jobd.api.search.groups import FailureGroup
from jobd.api.sets.entries import SortedEntry
from jobd.api.shared.reason import Reason
from jobd.api.stats import Day
from jobd.api.trash import Deletion
from jobd.api.work import Work
from jobd.wire.json_value import Array, Object

T = TypeVar("T")

MOST_ARGUMENTS = 64 * 1024
"""Bytes of a job whose arguments are in lists."""

MOST_DETAIL = 4 * 1024 * 1024
"""Bytes of a job whose arguments are shown at all."""

_MOST_TEXT = 10_000

Count = Annotated[int, Meta(ge=0)]


class Job(Struct, kw_only=True, frozen=True):
    """A job. ``args`` and ``kwargs`` are as they are shown to people, secrets hidden; null where
    the job is too large for that."""

    jid: str
    class_: str = msgspec.field(name="class")
    queue: str
    args: Array | None
    kwargs: Object | None
    tags: list[str]
    created_at: float | None
    enqueued_at: float | None
    error_class: str
    error_message: str
    failed_at: float | None
    retried_at: float | None
    retry_count: int | None
    expires_at: float | None
    snoozes: Count
    unique_until: str | None
    keep_result: float | None
    parent: str
    root: str
    traceparent: str
    bytes: Count
    malformed: bool


class Entry(Job, kw_only=True, frozen=True):
    """A job of a set: ``at`` is when it runs next, or when it died; ``key`` stands for it in other
    calls."""

    key: str
    at: float | None


class QueuedDetail(Job, kw_only=True, frozen=True):
    """A job of a queue, with its backtrace, innermost line first."""

    backtrace: list[str]


class EntryDetail(Entry, kw_only=True, frozen=True):
    """A job of a set, with its backtrace, innermost line first."""

    backtrace: list[str]


class QueuedJobs(Struct, frozen=True):
    """A page of a queue."""

    size: Count
    start: Count
    more: bool
    jobs: list[Job]


class FoundQueued(Struct, frozen=True):
    """What a search has found so far; with ``cursor`` it goes on, unless it is ``done``."""

    jobs: list[Job]
    scanned: Count
    cursor: str
    done: bool


class Entries(Struct, frozen=True):
    """A page of a set."""

    size: Count
    start: Count
    more: bool
    jobs: list[Entry]


class FoundEntries(Struct, frozen=True):
    """What a search has found so far; with ``cursor`` it goes on, unless it is ``done``."""

    jobs: list[Entry]
    scanned: Count
    cursor: str
    done: bool


class History(Struct, frozen=True):
    """Counts by UTC day, the newest first."""

    days: list[Day]


class Queues(Struct, frozen=True):
    """Some of the queues that are looked at, by name: ``size`` of them, of ``known`` ones."""

    queues: list[QueueSummary]
    size: Count
    known: Count


class Groups(Struct, frozen=True):
    """Jobs grouped by what went wrong, the largest group first; all of them if ``done``. ``other``
    jobs are in groups beyond the first 1,000."""

    groups: list[FailureGroup]
    scanned: Count
    other: Count
    done: bool


class ProcessState(Struct, frozen=True):
    """A worker process; ``rss`` is in KB, ``rtt_us`` and ``loop_lag_us`` are in microseconds.
    ``concurrency`` includes the ``coroutines``."""

    identity: str
    hostname: str
    pid: int
    tag: str
    labels: list[str]
    queues: dict[str, int]
    version: str
    concurrency: int
    coroutines: int
    busy: int
    stopping: bool
    embedded: bool
    leader: bool
    rss: int
    rtt_us: int
    loop_lag_us: int
    beat: float
    started_at: float


class Processes(Struct, frozen=True):
    """Some of the ``size`` worker processes, by identity; the numbers of their queues are
    weights."""

    processes: list[ProcessState]
    size: Count


class Reported(Struct, frozen=True):
    """How far a job says that it has come; ``rate`` is how much it does in a second."""

    done: float
    total: float | None
    note: str
    at: float
    attempt: int
    rate: float | None
    left: float | None


class Running(Struct, frozen=True):
    """A job that runs. It is ``stalled`` if it has reported nothing for longer than its own
    ``stalled_after``."""

    process: str
    thread: str
    run_at: float
    progress: Reported | None
    stalled: bool
    job: Job


class RunningJobs(Struct, frozen=True):
    """Some of the ``size`` jobs that run, the longest running first."""

    work: list[Running]
    size: Count


class Found(Struct, frozen=True):
    """A job that was found: ``place`` is ``work``, ``lock``, ``retry``, ``schedule``, ``dead`` or
    ``queue:NAME``; ``key`` stands for it there."""

    place: str
    key: str
    job: Job


class FoundJobs(Struct, frozen=True):
    """What a search has found so far; with ``cursor`` it goes on, unless it is ``done``."""

    jobs: list[Found]
    scanned: Count
    cursor: str
    done: bool


class Stacks(Struct, frozen=True):
    """What the threads of a process were doing, for people to read."""

    at: float
    text: str


class AuditPage(Struct, frozen=True):
    """The last entries of the audit log; ``before`` is for the page of those before them, and empty
    at the end."""

    entries: list[AuditEntry]
    before: str


class Trashed(Struct, frozen=True):
    """A deletion that can be undone."""

    ref: str
    who: str
    action: str
    origin: str
    went_to: str
    jobs: int
    at: float
    until: float


class TrashPage(Struct, frozen=True):
    """A page of the trash, the last deletion first."""

    size: Count
    start: Count
    more: bool
    deletions: list[Trashed]


class Changed(Struct, frozen=True):
    """How many jobs, queues or processes have been changed. Where there was too much for one call
    it is not ``done``: repeat the call with ``cursor`` and ``ref``. Jobs that match are ``kept``
    where they are if another unique job like them is there, or their queue has another type."""

    changed: Count
    done: bool = True
    cursor: str = ""
    ref: str = ""
    kept: Count = 0


class CancelledJob(Struct, frozen=True):
    """``cancelled``: it waited, and is in the trash; ``cancelling``: its worker is told;
    ``unknown``: it neither waits nor runs, or runs in a Sidekiq."""

    answer: Literal["cancelled", "cancelling", "unknown"]


def job(record: JobRecord) -> Job:
    """*record* for a list."""
    return Job(**_fields(record, MOST_ARGUMENTS))


def entry(found: SortedEntry) -> Entry:
    """*found* for a list."""
    return Entry(**_fields(found, MOST_ARGUMENTS), key=found.key, at=finite(found.score))


def queued_detail(record: JobRecord) -> QueuedDetail:
    """*record* with all that is known."""
    return QueuedDetail(**_fields(record, MOST_DETAIL), backtrace=record.error_backtrace)


def entry_detail(found: SortedEntry) -> EntryDetail:
    """*found* with all that is known."""
    return EntryDetail(
        **_fields(found, MOST_DETAIL),
        key=found.key,
        at=finite(found.score),
        backtrace=found.error_backtrace,
    )


def queued_jobs(page: Page[JobRecord]) -> QueuedJobs:
    return QueuedJobs(page.size, page.start, page.more, list(map(job, page)))


def entries(page: Page[SortedEntry]) -> Entries:
    return Entries(page.size, page.start, page.more, list(map(entry, page)))


def process(found: Process) -> ProcessState:
    fields = {name: getattr(found, name) for name in ProcessState.__struct_fields__}
    return ProcessState(**{**fields, "labels": list(found.labels), "queues": found.weights})


def running(work: Work) -> Running:
    now, seen = time.time(), work.progress
    shown = None
    if seen is not None:
        shown = Reported(
            seen.done, seen.total, seen.note, seen.at, seen.attempt, seen.rate, seen.left(now)
        )
    stalled = work.stalled(now)
    return Running(work.process, work.thread, work.run_at, shown, stalled, job(work.job))


def trash_page(page: Page[Deletion]) -> TrashPage:
    return TrashPage(page.size, page.start, page.more, list(map(trashed, page)))


def finite(value: float | None) -> float | None:
    """JSON has no other numbers."""
    return value if value is not None and math.isfinite(value) else None


def trashed(found: Deletion) -> Trashed:
    return Trashed(*(getattr(found, name) for name in Trashed.__struct_fields__))


def _fields(record: JobRecord, most: int) -> Object:
    shown, hanging = len(record.value) <= most, record.attachments
    return {
        "jid": record.jid,
        "class_": record.display_class,
        "queue": record.queue,
        "args": encodable(record.display_args) if shown else None,
        "kwargs": encodable(record.display_kwargs) if shown else None,
        "tags": list(record.tags),
        "created_at": finite(record.created_at),
        "enqueued_at": finite(record.enqueued_at),
        "error_class": record.error_class[:_MOST_TEXT],
        "error_message": record.error_message[:_MOST_TEXT],
        "failed_at": finite(record.failed_at),
        "retried_at": finite(record.retried_at),
        "retry_count": record.retry_count,
        "expires_at": finite(hanging.expires_at),
        "snoozes": hanging.snoozes,
        "unique_until": None if hanging.lock is None else hanging.lock.until,
        "keep_result": finite(hanging.result),
        "parent": (hanging.parent or "")[:_MOST_TEXT],
        "root": (hanging.root or "")[:_MOST_TEXT],
        "traceparent": record.traceparent[:_MOST_TEXT],
        "bytes": len(record.value),
        "malformed": record.malformed,
    }


def encodable(value: T) -> T | None:
    """*value*, or null where it is nested too deeply."""
    try:
        msgspec.json.encode(value)
    except RecursionError:
        return None
    return value


class Why(Struct, frozen=True):
    """A reason why something does not run; see the data API."""

    kind: str
    text: str
    advice: str
    at: float | None
    blocks: bool

    @classmethod
    def of(cls, one: Reason) -> Why:
        return cls(one.kind, str(one.text), str(one.advice), one.at, one.blocks)
