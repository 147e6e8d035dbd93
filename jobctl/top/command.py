"""``jobctl top``."""

from __future__ import annotations

import sys

import click

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.data.connection import connected
from jobctl.data.frame import Command
from jobd.store.trouble import where


@click.command(cls=Command)
@click.option(
    "--every",
    type=click.FloatRange(min=0.5, max=3600),
    default=2.0,
    metavar="SECONDS",
    help="The time between two looks.  [default: 2]",
)
@click.pass_context
def top(context: click.Context, every: float) -> int:
    """Watch and control everything on the full screen, with the keyboard.

    Throughput, what runs and its stacks, processes, queues, retries, scheduled and dead jobs with
    search and actions, failure groups, metrics, periodic jobs, batches, workflows, the trash, the
    audit log. The key ? shows the keys of each page. It needs a terminal, and the package textual:
    pip install 'pyjobd[tui]'.
    """
    if options.wants_json(context) or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "it needs a terminal; jobctl stats --watch writes lines, also with --json", context
        )
    try:
        from jobctl.top.app import Top
    except ModuleNotFoundError as error:
        raise Problem(
            Code.FAILED,
            f"jobctl top needs the package {str(error.name).partition('.')[0]}: "
            "run pip install 'pyjobd[tui]'",
        ) from None
    api = connected(context)
    api.counters()  # a Redis that does not answer, or a wrong password, is told before the screen
    place = where(api.redis) + (f" {api.keys.prefix}" if api.keys.prefix else "")
    program = Top(api, place, every)
    program.run()
    return program.return_code or Code.DONE
