"""``jobctl stats``."""

from __future__ import annotations

import sys
import time

import click

from jobctl import options
from jobctl.daemon.display import duration
from jobctl.data import output
from jobctl.data.connection import connected
from jobctl.data.frame import Command
from jobctl.data.output import Column
from jobctl.data.words import lateness
from jobctl.say import say
from jobd.api.entry import Api
from jobd.api.queues.queues import QueueSummary
from jobd.api.stats import Stats
from jobd.errors import UnavailableError
from jobd.text.counting import counted

_QUEUES = 20
"""Queues that are listed; the largest."""


@click.command(cls=Command)
@click.option("-w", "--watch", is_flag=True, help="Repeat it until Ctrl-C, with rates.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1, max=3600),
    default=2.0,
    metavar="SECONDS",
    help="With --watch: the time between two looks.  [default: 2]",
)
@click.pass_context
def stats(context: click.Context, watch: bool, every: float) -> None:
    """Show how many jobs wait, run, failed and died, and the largest queues.

    With --json it is one object; with --watch one a line for each look.
    """
    api = connected(context)
    if not watch:
        _show(context, api.stats(), _queues(context, api), None)
        return
    try:
        _watch(context, api, every)
    except KeyboardInterrupt:
        click.echo(err=True)


def _watch(context: click.Context, api: Api, every: float) -> None:
    before: tuple[float, Stats] | None = None
    whole = sys.stdout.isatty() and not options.wants_json(context)
    while True:
        try:
            found, queues = (time.monotonic(), api.stats()), _queues(context, api)
        except UnavailableError as error:
            if before is None:
                raise
            say(str(error))
        else:
            if whole:
                sys.stdout.write("\x1b[H\x1b[2J")  # click would leave it out with NO_COLOR
            _show(context, found[1], queues, before)
            before = found
        time.sleep(every)


def _queues(context: click.Context, api: Api) -> list[QueueSummary]:
    """Those that are shown, and some; as JSON, none is."""
    if options.wants_json(context):
        return []
    return list({queue.name: queue for queue in api.queues(1000)}.values())


def _show(
    context: click.Context,
    now: Stats,
    queues: list[QueueSummary],
    before: tuple[float, Stats] | None,
) -> None:
    if options.wants_json(context):
        output.record(now)
        return
    done = failed = ""
    if before is not None:
        gap, then = max(0.001, time.monotonic() - before[0]), before[1]
        done = f"  {(now.processed - then.processed) / gap:,.1f}/s"
        failed = f"  {(now.failed - then.failed) / gap:,.1f}/s"
    processes = counted(now.processes_size, "process", "processes")
    output.facts(
        [
            ("processed", f"{now.processed:,}{done}"),
            ("failed", f"{now.failed:,}{failed}"),
            ("running", f"{now.workers_size:,} in {processes}"),
            ("enqueued", f"{now.enqueued:,}"),
            ("retries", f"{now.retry_size:,}"),
            ("scheduled", f"{now.scheduled_size:,}"),
            ("dead", f"{now.dead_size:,}"),
            *(
                (name, f"{count:,}")
                for name, count in (
                    ("expired", now.expired),
                    ("cancelled", now.cancelled),
                    ("duplicates", now.duplicates),
                )
                if count
            ),
        ]
    )
    largest = sorted(queues, key=lambda queue: queue.size, reverse=True)[:_QUEUES]
    if largest:
        click.echo()
    output.table(
        [
            Column("QUEUE", gives=True),
            Column("JOBS", right=True),
            Column("WAITS", right=True),
            Column("LATE" if any(queue.slo for queue in largest) else "", right=True),
            Column(""),
        ],
        (
            (
                queue.name,
                f"{queue.size:,}",
                duration(queue.latency) if queue.size else "",
                lateness(queue),
                "paused" if queue.paused else "",
            )
            for queue in largest
        ),
    )
    if len(queues) > _QUEUES:
        output.line(f"{len(queues) - _QUEUES:,} more queues; jobctl queues ls shows all", dim=True)
