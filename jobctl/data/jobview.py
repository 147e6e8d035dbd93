"""One job with all that is known of it, for people."""

from __future__ import annotations

import click

from jobctl.data import output
from jobctl.data.words import arguments, moment, name_of
from jobd.api.features.attached import notes
from jobd.api.records import JobRecord
from jobd.api.sets.entries import SortedEntry

_LINES = 50
"""Lines of a backtrace."""

PLACES = {
    "work": "running",
    "lock": "waiting for a lock",
    "retry": "retries",
    "retries": "retries",
    "schedule": "scheduled",
    "scheduled": "scheduled",
    "dead": "dead",
}


def where(place: str) -> str:
    """A place as people call it.

    >>> where("retry"), where("queue:mail")
    ('retries', 'queue mail')
    """
    return PLACES.get(place) or place.replace(":", " ", 1)


MALFORMED = "This is not a job: it has no class or no list of arguments."


def show(job: JobRecord, place: str) -> None:
    """Print it."""
    if job.malformed:
        output.line(MALFORMED, fg="yellow")
    output.facts(facts_of(job, place))
    trace = job.error_backtrace
    if trace:
        click.echo()
        for line in trace[:_LINES]:
            output.line(f"  {line[:1000]}")
        if len(trace) > _LINES:
            output.line(f"  … {len(trace) - _LINES} more lines; --json has all", dim=True)


def facts_of(job: JobRecord, place: str) -> list[tuple[str, str]]:
    """Its fields by their names; the values are not safe to print as they are."""
    at = moment(job.score) if isinstance(job, SortedEntry) else ""
    dead = place == "dead"
    count = job.retry_count
    return [
        ("job", job.jid),
        ("class", name_of(job)),
        ("place", where(place)),
        ("queue", job.queue),
        ("arguments", arguments(job, output.LONGEST)),
        ("tags", ", ".join(job.tags)),
        ("died" if dead else "runs", at),
        ("created", moment(job.created_at)),
        ("enqueued", moment(job.enqueued_at)),
        ("failed first", moment(job.failed_at)),
        ("failed last", moment(job.retried_at)),
        ("failures", "" if count is None else str(count + 1)),
        ("pushed by", job.parent_jid),
        ("error", f"{job.error_class}: {job.error_message}" if job.error_class else ""),
        ("bytes", f"{len(job.value):,}"),
        ("", "\n".join(str(note.text) for note in notes(job))),
    ]
