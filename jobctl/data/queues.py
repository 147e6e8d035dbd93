"""``jobctl queues``."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Unpack

import click

from jobctl import options
from jobctl.daemon.display import duration
from jobctl.data import bulk, common, completing, filters, output
from jobctl.data.bulk import Outcome, searched
from jobctl.data.connection import connected
from jobctl.data.filters import Filters
from jobctl.data.frame import Command, Group
from jobctl.data.output import Column
from jobctl.data.steps import Moving
from jobctl.data.words import ago, arguments, lateness, name_of
from jobctl.say import say
from jobd.api import shapes
from jobd.api.actions import NOTHING, QUEUE_ACTIONS, QUEUED_ACTIONS
from jobd.api.entry import Api
from jobd.api.queues.queues import Queue
from jobd.api.records import JobRecord
from jobd.text.counting import counted


@click.group("queues", cls=Group)
def queues() -> None:
    """The queues: what waits in them, and pausing, clearing and moving them."""


@queues.command(cls=Command)
@click.pass_context
def ls(context: click.Context) -> None:
    """List the queues. Of each: jobs that wait, how long the oldest has waited, lateness, pauses.

    LATE is the share of the last hour, of queues with an objective (slo).
    """
    found = connected(context).queues()
    if options.wants_json(context):
        output.records(found)
        return
    rows = (
        (
            queue.name,
            f"{queue.size:,}",
            duration(queue.latency) if queue.size else "",
            lateness(queue),
            "paused" if queue.paused else "",
        )
        for queue in found
    )
    columns = [
        Column("QUEUE", gives=True),
        Column("JOBS", right=True),
        Column("WAITS", right=True),
        Column("LATE" if any(queue.slo for queue in found) else "", right=True),
        Column("", colour="yellow"),
    ]
    if not output.table(columns, rows):
        output.line("no queues")


def _unheard(api: Api, *names: str) -> None:
    """Say of which queues nobody has heard: a name may be mistyped."""
    known = {queue.name for queue in Queue.all(api)}
    known |= {name for process in api.processes for name in process.queues}
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            say(f"there is no queue {name} so far, and no process serves it{meant}")


def waiting(queue: Queue, chosen: Filters) -> Iterator[JobRecord]:
    """The jobs of a queue that fit, the next to run first."""
    return searched(queue.scan(chosen.text, chosen.test() if chosen else None), queue.size)


@queues.command(
    cls=Command, params=[common.queue(), *filters.options(errors=False), common.limit()]
)
@click.pass_context
def show(context: click.Context, /, name: str, limit: int, **given: Unpack[filters.Given]) -> None:
    """List the jobs of queue NAME, the next to run first."""
    api = connected(context)
    queue = api.queue(name)
    found = waiting(queue, Filters(**given))
    some = islice(found, limit or None)
    if options.wants_json(context):
        output.records(map(shapes.job, some))
        return
    count = _show(some)
    if not count:
        _unheard(api, name)
        output.line("no jobs")
    elif limit and count == limit and next(found, None) is not None:
        output.line("and more; --limit 0 shows all", dim=True)


def _show(jobs: Iterator[JobRecord]) -> int:
    columns = [
        Column("#", right=True),
        Column("JID"),
        Column("CLASS", gives=True),
        Column("ARGUMENTS", gives=True),
        Column("ENQUEUED", right=True),
    ]
    return output.table(
        columns,
        (
            (
                f"{(job.before or 0) + 1:,}",
                job.jid,
                name_of(job),
                arguments(job),
                ago(job.enqueued_at or job.created_at),
            )
            for job in jobs
        ),
    )


def _switch(name: str) -> click.Command:
    action = QUEUE_ACTIONS[name]

    @click.pass_context
    def switch(context: click.Context, names: tuple[str, ...]) -> None:
        api = connected(context)
        changed = 0
        _unheard(api, *names)
        for each in names:
            changed += int(action.do(api.queue(each), NOTHING))
            if not options.wants_json(context):
                output.line(str(action.done(1, each)))
        if options.wants_json(context):
            output.record(Outcome(changed))

    argument = click.Argument(
        ["names"],
        nargs=-1,
        required=True,
        metavar="NAME...",
        shell_complete=completing.queues,
    )
    return Command(name, callback=switch, params=[argument], help=str(action.summary))


@queues.command(
    cls=Command,
    params=[
        common.queue(),
        *filters.options(errors=False),
        common.dry_run(),
        common.yes(),
    ],
    short_help=str(QUEUE_ACTIONS["clear"].summary),
)
@click.pass_context
def clear(
    context: click.Context, /, name: str, dry_run: bool, yes: bool, **given: Unpack[filters.Given]
) -> None:
    """Delete all jobs of queue NAME, or those that fit the filters.

    They do not run; the trash keeps them for a day. With filters, the queue is gone through once;
    meanwhile newer jobs may run before older ones.
    """
    action, some = QUEUE_ACTIONS["clear"], QUEUED_ACTIONS["delete"]
    api, chosen = connected(context), Filters(**given)
    queue = api.queue(name)
    _unheard(api, name)
    count = 0
    if dry_run or not yes:
        count = sum(1 for _ in waiting(queue, chosen)) if chosen else queue.size
    if dry_run:
        if not options.wants_json(context):
            _show(islice(waiting(queue, chosen), 10))
        return bulk.rehearsed(context, count, str(action.effect))
    if not (yes or count or options.wants_json(context)):
        return output.line("no jobs")
    question = f"{action.effect} Delete {counted(count, 'job')} of queue {name}?"
    bulk.confirm(context, question, yes=yes)
    if chosen:
        sweep = queue.sweep(chosen.text, chosen.test())
        changed = bulk.run(
            sweep,
            "deleting",
            queue.size,
            lambda count: str(some.done(count, name)),
            lambda: api.last_ref,
        )
    else:
        changed = int(action.do(queue, NOTHING))
    bulk.report(context, Outcome(changed, ref=api.last_ref), str(action.done(changed, name)))
    return None


@queues.command(
    cls=Command, params=[common.queue("source"), common.queue("target"), common.dry_run()]
)
@click.pass_context
def move(context: click.Context, source: str, target: str, dry_run: bool) -> None:
    """Move all jobs of queue SOURCE to the end of queue TARGET. Their order stays."""
    action, api = QUEUE_ACTIONS["move"], connected(context)
    moving = Moving(api, source, target)
    _unheard(api, source, target)
    total = api.queue(source).size
    if dry_run:
        return bulk.rehearsed(context, total, str(action.effect))

    def done(count: int) -> str:
        return str(action.done(count, target))

    changed = bulk.run(moving, "moving", total, done)
    bulk.report(context, Outcome(changed), done(changed))
    return None


queues.add_command(_switch("pause"))
queues.add_command(_switch("resume"))
