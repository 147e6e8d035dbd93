"""A job as a list shows it: everything short, whatever is in Redis, so that many can be kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import islice

from jobd.api import JobRecord, JobSet, Page, Queue, SortedEntry
from jobd.web import job_address
from jobd.web.job_address import Place
from jobd.web.views.present import clip, first_line
from jobd.wire.json_value import UNWRITABLE

_TEXT, _NAME = 240, 120
"""Characters of a value and of a name."""

_LOOKED_AT = 10_000
"""Characters of a message in which its first line is looked for."""

_NAMED = 20
"""Keyword arguments that are shown, and tags."""


@dataclass(frozen=True, slots=True)
class Row:
    """One job.

    Attributes:
        place: where it is.
        at: when it runs next or has died; when it was put into its queue; None if nobody knows.
        name: of its class; empty if it is no job.
        args: arguments, or the text of what is no job.
        failures: how often it has failed.
        position: in its queue, 1 for the one that runs next; None if it is not known.
    """

    place: Place
    at: float | None
    queue: str
    name: str
    args: str
    tags: tuple[str, ...]
    error: str
    message: str
    failures: int
    position: int | None = None

    @property
    def key(self) -> str:
        return self.place.key


def row_of(record: JobRecord, place: Place, at: float | None) -> Row:
    """*record* as a row."""
    count = record.retry_count
    return Row(
        place=place,
        at=at,
        queue=clip(record.queue, _NAME),
        name="" if record.malformed else clip(record.display_class, _NAME),
        args=clip(record.display_raw if record.malformed else arguments(record), _TEXT),
        tags=tuple(clip(tag, 40) for tag in record.tags[:_NAMED]),
        error=clip(record.error_class, _NAME),
        message=clip(first_line(record.error_message[:_LOOKED_AT]), _TEXT),
        failures=0 if count is None else min(max(count + 1, 0), 10**6),
    )


def of_entry(entry: SortedEntry) -> Row:
    """A job of a sorted set."""
    return row_of(entry, job_address.of_entry(entry), entry.score)


def of_queued(job: JobRecord, before: int | None = None) -> Row:
    """A job of a queue, with *before* jobs that run before it if it does not know that itself."""
    before = job.before if before is None else before
    row = row_of(job, job_address.of_queued(job, before), job.enqueued_at or job.created_at)
    return replace(row, position=None if before is None else before + 1)


def arguments(record: JobRecord) -> str:
    """The arguments of a job in one line, secrets hidden."""
    positional = [_text(value) for value in islice(record.display_args, _TEXT)]
    named = [
        f"{clip(name, _NAME)}={_text(value)}"
        for name, value in islice(record.display_kwargs.items(), _NAMED)
    ]
    return ", ".join([*positional, *named])


def _text(value: object) -> str:
    try:
        return clip(json.dumps(value, ensure_ascii=False), _TEXT)
    except UNWRITABLE:
        return "…"  # a number of thousands of digits, or thousands of brackets


def page_of_set(jobs: JobSet, start: int, count: int, *, reverse: bool) -> Page[Row]:
    """Some jobs of a sorted set, in its usual order or in the other one."""
    highest_first = jobs.name != "dead" if reverse else None
    page = jobs.page(start, count, highest_first=highest_first)
    return Page(tuple(map(of_entry, page)), page.start, page.size)


def page_of_queue(queue: Queue, start: int, count: int, *, newest_first: bool) -> Page[Row]:
    """Some jobs of a queue."""
    page = queue.page(start, count, newest_first=newest_first)
    before = (page.size - 1 - start - at if newest_first else start + at for at in range(len(page)))
    found = (of_queued(job, max(0, place)) for job, place in zip(page, before, strict=True))
    return Page(tuple(found), page.start, page.size)
