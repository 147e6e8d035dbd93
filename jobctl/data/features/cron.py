"""``jobctl cron``: the periodic jobs."""

from __future__ import annotations

import time

import click

from jobctl import options
from jobctl.data import bulk, output
from jobctl.data.bulk import Outcome
from jobctl.data.connection import connected
from jobctl.data.frame import Command, Group, not_found
from jobctl.data.output import Column
from jobctl.data.push import Pushed
from jobctl.data.words import ago, moment
from jobd.api import Api, PeriodicJob, shapes, why_not_due
from jobd.api.actions import NOTHING, Given
from jobd.api.features.schedule_actions import SCHEDULE_ACTIONS, UNCHANGED
from jobd.schedules import preview as looking

_DAY = 86400

_MOST = 200_000
"""Ticks of all schedules together that are looked at."""


@click.group("cron", cls=Group)
def cron() -> None:
    """The periodic jobs: when they are due, and running, pausing and changing them."""


def _found(api: Api, name: str) -> PeriodicJob:
    try:
        return api.periodic[name]
    except KeyError:
        raise not_found(f"there is no periodic job {name}; jobctl cron ls lists them") from None


def _record(one: PeriodicJob) -> dict[str, object]:
    return {
        "id": one.id,
        "app": one.entry.app,
        "name": one.name,
        "job": one.entry.job,
        "queue": one.entry.queue,
        "line": str(one.line),
        "next": one.next,
        "paused": one.paused is not None,
        "changed": one.changed,
        "last": one.last,
    }


@cron.command(cls=Command)
@click.pass_context
def ls(context: click.Context) -> None:
    """List the periodic jobs, the next one first."""
    found = connected(context).periodic.all()
    if options.wants_json(context):
        output.records(map(_record, found))
        return
    columns = [
        Column("NAME", gives=True, last=True),
        Column("DUE", gives=True, last=True),
        Column("NEXT"),
        Column("LAST"),
        Column("APPLICATION", gives=True),
    ]
    rows = (
        (
            one.name,
            str(one.line),
            "paused" if one.next is None else ago(one.next),
            "" if one.last is None else f"{one.last.what} {ago(one.last.at)}",
            one.entry.app,
        )
        for one in found
    )
    if not output.table(columns, rows):
        output.line("no periodic jobs")


@cron.command(cls=Command)
@click.argument("name")
@click.pass_context
def show(context: click.Context, name: str) -> None:
    """Show the next and the last ticks of the periodic job NAME. NAME may be its id, too."""
    api = connected(context)
    one = _found(api, name)
    ticks = api.periodic.ticks(one)
    if options.wants_json(context):
        output.records([{**_record(one), "upcoming": one.upcoming(10), "ticks": ticks}])
        return
    entry = one.entry
    output.line(f"{one.name} ({one.id}) of {entry.app}")
    output.line(f"{one.line}{', changed until the next deploy' if one.changed else ''}")
    output.line(f"pushes {entry.job} to {entry.queue}; overlap {entry.overlap}")
    output.line(f"catch-up {entry.catch_up}, grace {entry.grace:g} s, jitter {entry.jitter:g} s")
    if one.next is None:
        output.line(f"paused since {moment(one.paused)}")
    for at in one.upcoming(5):
        output.line(f"next {moment(at)}")
    for tick in ticks:
        about = tick.why or tick.holder or tick.jid
        output.line(f"{tick.what} {moment(tick.tick)} {about}")


@cron.command(cls=Command)
@click.argument("name", required=False)
@click.option(
    "--days", type=click.IntRange(1, 366), default=14, metavar="N", help="How many.  [default: 14]"
)
@click.pass_context
def preview(context: click.Context, name: str | None, days: int) -> None:
    """Show what is due in the next days, of NAME or of all. It names ticks that the clocks skip or
    repeat, and where several come together."""
    api = connected(context)
    found = api.periodic.all() if name is None else [_found(api, name)]
    begin = time.time()
    end = begin + days * _DAY
    most = max(100, _MOST // max(1, len(found)))
    ticks = {one.id: one.between(begin, end, most) for one in found}
    names = {one.id: one.name for one in found}
    zones = {one.line.tz for one in found if not one.line.every}
    notes = [
        (change.at, one.name, what)
        for zone in sorted(zones)
        for change in looking.changes(zone, begin, end)
        for one in found
        if (what := looking.affected(one.line, change))
    ]
    meetings = looking.together(ticks)[:10]
    if options.wants_json(context):
        output.records(
            {"id": one.id, "name": one.name, "line": str(one.line), "ticks": ticks[one.id]}
            for one in found
        )
        return
    columns = [
        Column("NAME", gives=True, last=True),
        Column("DUE", gives=True),
        Column("TICKS", right=True),
    ]
    columns += [Column("FIRST"), Column("LAST")]
    rows = ((one.name, str(one.line), *_span(ticks[one.id], most)) for one in found)
    if not output.table(columns, rows):
        output.line("no periodic jobs")
    for at, who, what in notes:
        output.line(f"{moment(at)}: {who} {what}", fg="yellow")
    for meeting in meetings:
        who = ", ".join(names[one] for one in meeting.names[:5])
        output.line(f"{moment(meeting.at)}: {len(meeting.names)} at once: {who}")


def _span(ticks: list[float], most: int) -> tuple[str, str, str]:
    if not ticks:
        return "0", "", ""
    more = "+" if len(ticks) == most else ""
    return f"{len(ticks):,}{more}", ago(ticks[0]), ago(ticks[-1])


def _act(context: click.Context, name: str, action: str, given: Given = NOTHING) -> str | bool:
    """Do it; conflicts are told as they are."""
    api = connected(context)
    return SCHEDULE_ACTIONS[action].do(api.periodic, _found(api, name), given)


def _told(context: click.Context, action: str, name: str) -> None:
    bulk.report(context, Outcome(1), str(SCHEDULE_ACTIONS[action].done(1, name)))


@cron.command(cls=Command)
@click.argument("name")
@click.pass_context
def run(context: click.Context, name: str) -> None:
    """Push the job of NAME now, beside its ticks; prints its id."""
    jid = str(_act(context, name, "run"))
    if options.wants_json(context):
        output.record(Pushed(jid))
    else:
        output.line(jid)


def _switch(action: str, summary: str) -> click.Command:
    """One that may have been done before."""

    @click.pass_context
    def act(context: click.Context, name: str) -> None:
        if _act(context, name, action):
            _told(context, action, name)
        else:
            bulk.report(context, Outcome(0), str(UNCHANGED[action].filled(name=name)))

    return Command(action, callback=act, params=[click.Argument(["name"])], help=summary)


for _action, _summary in (
    ("pause", "Push no more ticks of NAME, until it is resumed."),
    ("resume", "Push the ticks of NAME again, from now on."),
    ("reset", "Take back a change of the line of NAME."),
):
    cron.add_command(_switch(_action, _summary))


@cron.command("set", cls=Command)
@click.argument("name")
@click.argument("line")
@click.option("--tz", metavar="ZONE", help="Time zone of LINE.  [default: the one it has]")
@click.pass_context
def set_line(context: click.Context, name: str, line: str, tz: str | None) -> None:
    """Change when NAME is due to LINE, until the next deploy.

    LINE is a line of cron, in quotes, or an interval such as "@every 90s".
    """
    if not _act(context, name, "set", Given(line=line, tz=tz)):
        raise not_found(f"{name} is gone")
    _told(context, "set", name)
    if not options.wants_json(context):
        output.line(f"due next {moment(_found(connected(context), name).next)}")


@cron.command(cls=Command)
@click.argument("name")
@click.pass_context
def why(context: click.Context, name: str) -> None:
    """Say why NAME does not run, or when it is due. What blocks it comes first."""
    api = connected(context)
    reasons = why_not_due(api, _found(api, name))
    if options.wants_json(context):
        output.records(map(shapes.Why.of, reasons))
        return
    for one in reasons:
        text = f"{one.text} {one.advice}" if one.advice else str(one.text)
        output.line(text, fg="red" if one.blocks else None)
