"""Options that several of these commands have."""

from __future__ import annotations

import click

from jobctl.data import completing


def yes() -> click.Option:
    """The option that takes the question away."""
    return click.Option(["-y", "--yes"], is_flag=True, help="Do not ask first.")


def dry_run() -> click.Option:
    """The option for a rehearsal."""
    return click.Option(["--dry-run"], is_flag=True, help="Say what would be done; change nothing.")


def limit(what: str = "jobs") -> click.Option:
    """How long a list may be."""
    return click.Option(
        ["-n", "--limit"],
        type=click.IntRange(min=0),
        default=25,
        metavar="N",
        help=f"Show at most N {what}, 0 for all.  [default: 25]",
    )


def in_queue() -> click.Option:
    """Where to look for a job."""
    return click.Option(
        ["--queue"],
        metavar="NAME",
        help="Look only in this queue, beside what runs and the sets.",
        shell_complete=completing.queues,
    )


def queue(name: str = "name") -> click.Argument:
    """The name of a queue."""
    return click.Argument([name], shell_complete=completing.queues)
