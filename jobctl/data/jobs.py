"""``jobctl jobs``: jobs wherever they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Unpack

import click

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.data import bulk, common, filters, jobview, output
from jobctl.data.bulk import Outcome
from jobctl.data.connection import connected
from jobctl.data.editing import edit
from jobctl.data.filters import Filters
from jobctl.data.frame import Command, Group
from jobctl.data.locating import one_job
from jobctl.data.output import Column
from jobctl.data.queues import waiting
from jobctl.data.sets import entries
from jobctl.data.words import ago, arguments, error_of, name_of
from jobd.api import shapes
from jobd.api.actions import CANCEL_ANSWERS, JOB_ACTIONS, NOTHING, QUEUED_ACTIONS, SET_ACTIONS
from jobd.api.entry import Api
from jobd.api.features.held_back import LOCK
from jobd.api.find import WORK, Found
from jobd.api.queues.queues import Queue
from jobd.api.sets.entries import SortedEntry

_PLACES = ("running", "retries", "scheduled", "dead", "queues")


@click.group("jobs", cls=Group)
def jobs() -> None:
    """Find jobs wherever they are: running, in the sets and in all queues; act on one by its id."""


@jobs.command(cls=Command, params=[*filters.options(), common.limit()])
@click.argument("text", required=False)
@click.option(
    "--in",
    "places",
    multiple=True,
    type=click.Choice(_PLACES),
    help="Look only here; repeatable.",
)
@click.pass_context
def find(
    context: click.Context,
    /,
    text: str | None,
    places: tuple[str, ...],
    limit: int,
    **given: Unpack[filters.Given],
) -> int:
    """Find jobs that fit all that is given. TEXT is anywhere in their JSON: an id, for example.

    They are shown as they are found: what runs, then the retries, the scheduled, the dead and the
    queues. The exit code is 1 if there are none.
    """
    if text is not None:
        if given.get("match") is not None:
            raise click.UsageError("give TEXT or --match, not both", context)
        given["match"] = text
    chosen = Filters(**given)
    if not chosen:
        raise click.UsageError("give a text to look for, or filters such as --arg", context)
    found = islice(_found(connected(context), chosen, places or _PLACES), limit or None)
    if options.wants_json(context):
        count = output.records(
            shapes.Found(one.place, one.key, shapes.job(one.job)) for one in found
        )
    else:
        count = output.table(_COLUMNS, map(_row, found))
        if not count:
            output.line("no jobs")
        elif limit and count == limit:
            output.line("maybe more; --limit 0 shows all", dim=True)
    return Code.DONE if count else Code.FAILED


_COLUMNS = (
    Column("PLACE", gives=True),
    Column("JID"),
    Column("CLASS", gives=True),
    Column("ARGUMENTS", gives=True),
    Column("WHEN"),
    Column("ERROR", gives=True, colour="red"),
)


def _row(found: Found) -> tuple[str, ...]:
    job = found.job
    at = job.score if isinstance(job, SortedEntry) else job.enqueued_at or job.created_at
    place = jobview.where(found.place)
    return place, job.jid, name_of(job), arguments(job), ago(at), error_of(job)


def _found(api: Api, chosen: Filters, places: tuple[str, ...]) -> Iterator[Found]:
    if "running" in places:
        test, text = chosen.test(), (chosen.text or "").encode()
        seen = set()
        running = [*(one.job for one in api.work), *(one.job for one in api.in_flight)]
        for job in running:
            if text in job.value and test(job) and job.value not in seen:
                seen.add(job.value)
                yield Found(WORK, job)
    for name in ("retries", "scheduled", "dead"):
        if name in places:
            within = getattr(api, name)
            yield from (Found(within.name, entry) for entry in entries(within, chosen))
    if "queues" in places:
        for queue in Queue.all(api):
            if chosen.queue in (None, queue.name):
                yield from (Found(f"queue:{queue.name}", job) for job in waiting(queue, chosen))


_FORCE = click.Option(
    ["--force"],
    is_flag=True,
    help="Replace its worker process if the job runs on for the job_kill_grace.",
)


def _params(*more: click.Parameter) -> list[click.Parameter]:
    return [click.Argument(["jid"]), common.in_queue(), *more]


@jobs.command(cls=Command, params=_params())
@click.pass_context
def show(context: click.Context, jid: str, queue: str | None) -> None:
    """Show a job with all that is known of it."""
    api = connected(context)
    found = one_job(api, jid, queue)
    if options.wants_json(context):
        if isinstance(found.job, SortedEntry):
            output.record(shapes.entry_detail(found.job))
        else:
            output.record(shapes.queued_detail(found.job))
        return
    jobview.show(found.job, found.place)
    work = api.work.find_work(jid) if found.place == WORK else None
    if work is not None:
        seen = work.progress
        output.facts(
            [
                ("process", work.process),
                ("started", ago(work.run_at)),
                ("progress", "" if seen is None else f"{seen.done:g}/{seen.total} {seen.note}"),
            ]
        )


@jobs.command(cls=Command, params=_params(_FORCE, common.dry_run(), common.yes()))
@click.pass_context
def cancel(
    context: click.Context, jid: str, queue: str | None, force: bool, dry_run: bool, yes: bool
) -> int:
    """Cancel a job, whether it waits or runs.

    A running job is interrupted, and not tried again. One that waits does not run; the trash keeps
    it for a day.
    """
    action, api = JOB_ACTIONS["cancel"], connected(context)
    if dry_run:
        _rehearsed(context, one_job(api, jid, queue), str(action.effect))
        return Code.DONE
    bulk.confirm(context, f"{action.effect} Cancel {jid}?", yes=yes)
    answer = action.do(api, jid, queue, force)
    if options.wants_json(context):
        output.record(shapes.CancelledJob(answer))
    else:
        output.line(str(CANCEL_ANSWERS[answer].filled(job=jid)))
    return Code.FAILED if answer == "unknown" else Code.DONE


def _rehearsed(context: click.Context, found: Found, effect: str) -> None:
    if not options.wants_json(context):
        output.table(_COLUMNS, [_row(found)])
    bulk.rehearsed(context, 1, effect)


def _acting(name: str, text: str) -> click.Command:
    """An action on a job that waits."""

    @click.pass_context
    def act(
        context: click.Context,
        jid: str,
        queue: str | None,
        dry_run: bool = False,
        yes: bool = False,
    ) -> None:
        api = connected(context)
        found = one_job(api, jid, queue)
        job = found.job
        if isinstance(job, SortedEntry):
            kind = "add_to_queue" if name == "retry" and found.place == "schedule" else name
            of_set = SET_ACTIONS[kind]
            if kind == "kill" and found.place == "dead":
                raise Problem(Code.FAILED, f"{jid} is dead already")
            if dry_run:
                return _rehearsed(context, found, str(of_set.effect))
            if of_set.asks:
                bulk.confirm(context, f"{of_set.effect} {of_set.button} {jid}?", yes=yes)
            changed = of_set.do(job.parent, [job], NOTHING)
            said = str(of_set.done(changed, ""))
        elif found.place in (WORK, LOCK) or name not in QUEUED_ACTIONS:
            where = jobview.where(found.place)
            other = "jobctl jobs cancel ends it" if name != "retry" else "it needs no retry"
            raise Problem(Code.FAILED, f"{jid} is in another place ({where}): {other}")
        else:
            queued = QUEUED_ACTIONS[name]
            if dry_run:
                return _rehearsed(context, found, str(queued.effect))
            if queued.asks:
                bulk.confirm(context, f"{queued.effect} {queued.button} {jid}?", yes=yes)
            changed = queued.do(api.queue(job.queue), [job], NOTHING)
            said = str(queued.done(changed, job.queue))
        ref = api.last_ref if name in ("kill", "delete") else ""
        return bulk.report_named(context, Outcome(changed, ref=ref), said, 1)

    asks = [common.dry_run(), common.yes()] if SET_ACTIONS[name].asks else []
    return Command(name, callback=act, params=_params(*asks), help=text)


for _name, _text in (
    ("retry", "Put a retry, or a scheduled or dead job, into its queue now."),
    ("kill", "Move a retry or a scheduled job to the dead set."),
    ("delete", "Delete a job that waits; the trash keeps it for a day."),
):
    jobs.add_command(_acting(_name, _text))


jobs.add_command(edit)
