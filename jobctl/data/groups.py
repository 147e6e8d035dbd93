"""``jobctl groups``: failed jobs by what went wrong."""

from __future__ import annotations

import click
import msgspec

from jobctl import options
from jobctl.data import common, output
from jobctl.data.bulk import Progress
from jobctl.data.connection import connected
from jobctl.data.frame import Command
from jobctl.data.output import Column
from jobctl.data.words import ago
from jobd.api.search.groups import FailureGroup
from jobd.api.sets.jobset import JobSet


class Group(msgspec.Struct, frozen=True):
    """A group as JSON: ``key`` is for ``--group``, ``set`` where its jobs are."""

    set: str
    key: str
    count: int
    error_class: str
    place: str
    sample: str
    classes: dict[str, int]
    first_seen: float | None
    last_seen: float | None
    jids: list[str]


@click.command(cls=Command, params=[common.limit("groups")])
@click.argument(
    "name", metavar="[retries|dead]", required=False, type=click.Choice(["retries", "dead"])
)
@click.pass_context
def groups(context: click.Context, name: str | None, limit: int) -> None:
    """Group the retries and the dead jobs by what went wrong, the largest group first.

    Jobs belong together that failed with the same exception in the same place of the application.
    The key of a group is for --group: jobctl dead retry --group KEY.
    """
    api = connected(context)
    rows: list[Group] = []
    for each in [name] if name else ["retries", "dead"]:
        rows += _groups(each, api.retries if each == "retries" else api.dead)[: limit or None]
    if options.wants_json(context):
        output.records(rows)
        return
    columns = [
        Column("SET"),
        Column("JOBS", right=True),
        Column("KEY"),
        Column("ERROR", gives=True, colour="red"),
        Column("PLACE", gives=True),
        Column("CLASSES", gives=True),
        Column("LAST"),
    ]
    cells = (
        (
            row.set,
            f"{row.count:,}",
            row.key,
            row.error_class,
            row.place,
            ", ".join(row.classes),
            ago(row.last_seen),
        )
        for row in rows
    )
    if not output.table(columns, cells):
        output.line("no failed jobs")


def _groups(name: str, jobs: JobSet) -> list[Group]:
    found, progress = jobs.groups(), Progress(f"grouping {name}", jobs.size)
    try:
        while not found.done:
            found.step()
            progress.show(found.scanned)
    finally:
        progress.clear()
    return [_row(name, group) for group in found.found]


def _row(name: str, group: FailureGroup) -> Group:
    return Group(
        name,
        group.key,
        group.count,
        group.error_class,
        group.place,
        group.sample,
        group.classes,
        group.first_seen,
        group.last_seen,
        group.jids,
    )
