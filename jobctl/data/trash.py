"""``jobctl trash``: what was deleted, the way back, and deleting for good, which frees memory."""

from __future__ import annotations

from collections.abc import Iterator

import click

from jobctl import options
from jobctl.data import bulk, common, completing, jobview, output
from jobctl.data.bulk import Outcome
from jobctl.data.connection import connected
from jobctl.data.frame import Command, Group, not_found
from jobctl.data.output import Column
from jobctl.data.steps import Emptying, Restoring
from jobctl.data.words import ago, kept_in_trash
from jobd.api import shapes
from jobd.api.actions import DELETION_ACTIONS, EMPTY_TRASH
from jobd.api.entry import Api
from jobd.api.reading import MOST
from jobd.api.trash import Deletion
from jobd.text.counting import counted


@click.group("trash", cls=Group)
def trash() -> None:
    """What was deleted or killed in the last 24 hours; it can be restored."""


@trash.command(cls=Command)
@click.pass_context
def ls(context: click.Context) -> None:
    """List the last deletions, the newest first."""
    found = list(connected(context).trash)
    if options.wants_json(context):
        output.records(map(shapes.trashed, found))
        return
    columns = [
        Column("REF"),
        Column("WHEN"),
        Column("WHO", gives=True),
        Column("ACTION"),
        Column("FROM", gives=True),
        Column("JOBS", right=True),
    ]
    rows = (
        (one.ref, ago(one.at), one.who, one.action, jobview.where(one.origin), f"{one.jobs:,}")
        for one in found
    )
    if not output.table(columns, rows):
        output.line("the trash is empty")


def _deletion(api: Api, ref: str) -> Deletion:
    try:
        return api.trash[ref]
    except KeyError:
        raise not_found(f"there is no deletion {ref} (any more); jobctl trash ls") from None


@trash.command(cls=Command, params=[common.dry_run()])
@click.argument("ref", shell_complete=completing.deletions)
@click.pass_context
def restore(context: click.Context, ref: str, dry_run: bool) -> None:
    """Undo the deletion REF: put its jobs back where they were.

    Those of a queue run next, in their old order; those of a set keep their times.
    """
    api, action = connected(context), DELETION_ACTIONS["restore"]
    deletion = _deletion(api, ref)
    if dry_run:
        return bulk.rehearsed(context, deletion.jobs, f"From {jobview.where(deletion.origin)}.")
    steps = Restoring(api, ref)

    def done(count: int) -> str:
        return str(action.done(count, ""))

    restored = bulk.run(steps, "restoring", deletion.jobs, done)
    left = api.trash.find_all([ref]).get(ref)
    kept = f" {kept_in_trash(left.jobs)}." if left is not None else ""
    bulk.report(context, Outcome(restored), done(restored) + kept)
    return None


@trash.command(
    cls=Command,
    params=[common.dry_run(), common.yes()],
    short_help=str(DELETION_ACTIONS["purge"].summary),
)
@click.argument("ref", shell_complete=completing.deletions)
@click.pass_context
def purge(context: click.Context, ref: str, dry_run: bool, yes: bool) -> None:
    """Make the deletion REF final: its jobs cannot be restored, and Redis has their memory back.

    It works also if Redis is full.
    """
    api, action = connected(context), DELETION_ACTIONS["purge"]
    deletion = _deletion(api, ref)
    if dry_run:
        return bulk.rehearsed(context, deletion.jobs, str(action.effect))
    question = f"{action.effect} {action.button} {counted(deletion.jobs, 'job')}?"
    bulk.confirm(context, question, yes=yes)
    changed = action.do(deletion, None)
    bulk.report(context, Outcome(changed), str(action.done(changed, deletion.went_to)))
    return None


def _all(api: Api) -> Iterator[Deletion]:
    """All deletions, the last one first; the trash itself gives the last 1,000."""
    start, size = 0, 1
    while start < size:
        page = api.trash.page(start, MOST)
        yield from page
        start, size = start + MOST, page.size


@trash.command(
    cls=Command, params=[common.dry_run(), common.yes()], short_help=str(EMPTY_TRASH.summary)
)
@click.pass_context
def empty(context: click.Context, dry_run: bool, yes: bool) -> None:
    """Make all deletions final: their jobs cannot be restored, and Redis has their memory back.

    It works also if Redis is full.
    """
    api, effect = connected(context), DELETION_ACTIONS["purge"].effect
    count = sum(deletion.jobs for deletion in _all(api))
    if dry_run:
        return bulk.rehearsed(context, count, str(effect))
    if not (yes or count or options.wants_json(context)):
        return output.line("the trash is empty")
    bulk.confirm(context, f"{effect} Delete {counted(count, 'job')} for good?", yes=yes)

    def done(changed: int) -> str:
        return str(EMPTY_TRASH.done(changed, ""))

    purged = bulk.run(Emptying(api), "deleting", count, done)
    bulk.report(context, Outcome(purged), done(purged))
    return None
