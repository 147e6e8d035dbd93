"""``jobctl audit``."""

from __future__ import annotations

from itertools import islice

import click

from jobctl import options
from jobctl.data import common, output
from jobctl.data.connection import connected
from jobctl.data.frame import Command
from jobctl.data.output import Column
from jobctl.data.words import ago
from jobd.api.reading import MOST


@click.command(cls=Command, params=[common.limit("entries")])
@click.option("--who", metavar="TEXT", help="Only changes by names that contain this.")
@click.pass_context
def audit(context: click.Context, limit: int, who: str | None) -> None:
    """Show who has changed what, the last change first: in the dashboard, here and by scripts."""
    log = connected(context).audit
    entries = iter(log.page(limit)) if 0 < limit <= MOST and not who else iter(log)
    found = islice((one for one in entries if who is None or who in one.who), limit or None)
    if options.wants_json(context):
        output.records(found)
        return
    columns = [
        Column("WHEN"),
        Column("WHO", gives=True),
        Column("ACTION", gives=True),
        Column("TARGET", gives=True),
        Column("JOBS", right=True),
    ]
    rows = ((ago(one.at), one.who, one.action, one.target, f"{one.jobs:,}") for one in found)
    if not output.table(columns, rows):
        output.line("no entries")
