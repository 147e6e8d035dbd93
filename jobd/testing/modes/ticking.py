"""The job of a tick in a test mode: as a keeper makes it, from the schedule of a job."""

from __future__ import annotations

from datetime import UTC, datetime

from jobd.ambient import clock
from jobd.errors import ArgumentError
from jobd.jobs.app import default
from jobd.jobs.client import Client
from jobd.jobs.job_class import Job
from jobd.jobs.periodic import entries_of
from jobd.jobs.pushable import Pushable
from jobd.jobs.times import due_at
from jobd.schedules import entry as entries
from jobd.schedules.entry import Entry
from jobd.settings.daemon import Config
from jobd.testing.modes.expected import AnyJob, named
from jobd.wire.attachments import AttachedPush, Pushed


def tick_of(
    job: AnyJob, schedule: str | None, when: datetime | None
) -> tuple[Client, AttachedPush, float]:
    """Where the job of a tick is pushed to, what is pushed, and at what time.

    Raises:
        ArgumentError: see :meth:`jobd.testing.Jobs.tick`.
    """
    name, definition = named(job)
    pushable = job._pushable if isinstance(job, type) and issubclass(job, Job) else job
    owner = pushable._call.owner if isinstance(pushable, Pushable) else default
    if definition is None:
        definition = owner.registry.lookup(name)
    found, problems = entries_of(owner.registry, Config())
    for problem in problems:
        raise ArgumentError(f"periodic job {problem.name}: {problem.error}")
    mine = [one for one in found if one.job == definition.name]
    one = _chosen(name, mine, schedule)
    now = clock.now()
    at = one.line.after(now) if when is None else _moment(one, when, now)
    then = max(now, at)  # when it comes
    made = entries.job_of(one, at, then)
    push = AttachedPush(made.raw, made.jid, one.queue, Pushed(made.due, made.lock, made.result))
    return owner.client, push, then


def _chosen(job: str, mine: list[Entry], schedule: str | None) -> Entry:
    if not mine:
        raise ArgumentError(f"{job} is not a periodic job: it has neither cron nor every")
    called = [one for one in mine if schedule is None or one.name == schedule]
    if len(called) == 1:
        return called[0]
    names = ", ".join(repr(one.name) for one in mine)
    if not called:
        raise ArgumentError(f"{job} has no schedule {schedule!r}; it has {names}")
    raise ArgumentError(f"{job} has several schedules; say which one: {names}")


def _moment(one: Entry, when: datetime, now: float) -> float:
    due_at(when, now)  # refuses one without a time zone
    at = when.timestamp()
    if one.line.after(at - 0.001) != at:
        shown = datetime.fromtimestamp(at, UTC).isoformat(" ")
        following = datetime.fromtimestamp(one.line.after(at), UTC).isoformat(" ")
        raise ArgumentError(f"{one.name} ({one.line}) is not due at {shown}, but at {following}")
    return at
