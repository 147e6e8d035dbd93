"""``jobctl batch``: jobs that were pushed together."""

from __future__ import annotations

import click
import msgspec

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.data import bulk, common, output
from jobctl.data.bulk import Outcome
from jobctl.data.connection import connected
from jobctl.data.features import batchview
from jobctl.data.frame import Command, Group, not_found
from jobctl.data.output import Column
from jobctl.data.words import ago
from jobd.api import Api
from jobd.api.features import batch_parts
from jobd.api.features.batch_actions import BATCH_ACTIONS
from jobd.api.features.batch_shapes import BatchSummary
from jobd.api.features.batches import Batch
from jobd.errors import JobNotFoundError, ResultTimeoutError
from jobd.features.batches.record import BatchStatus
from jobd.jobs.client import Client
from jobd.text.counting import counted

FAILED = 100
"""Members that have failed which are named."""


@click.group("batch", cls=Group)
def batch() -> None:
    """Batches: jobs that were pushed together, and what happens when they have ended."""


def _gone(bid: str) -> Problem:
    return not_found(f"there is no batch {bid}; jobctl batch ls lists them")


def _found(api: Api, bid: str) -> BatchStatus:
    try:
        return api.batches.get(bid)
    except JobNotFoundError:
        raise _gone(bid) from None


@batch.command(cls=Command, params=[common.limit("batches")])
@click.pass_context
def ls(context: click.Context, limit: int) -> None:
    """List the batches, the newest first."""
    batches = connected(context).batches
    found = batches.newest(limit or len(batches))
    if options.wants_json(context):
        output.records(map(BatchSummary.of, found))
        return
    columns = [
        Column("ID"),
        Column("DESCRIPTION", gives=True),
        Column("STATE"),
        Column("ENDED", right=True),
        Column("DEAD", right=True),
        Column("PUSHED"),
    ]
    rows = (
        (
            one.bid,
            one.description,
            one.state,
            f"{one.total - one.pending:,}/{one.total:,}",
            f"{one.dead:,}",
            ago(one.created_at),
        )
        for one in found
    )
    if not output.table(columns, rows):
        output.line("no batches")


@batch.command(cls=Command)
@click.argument("bid", metavar="ID")
@click.pass_context
def show(context: click.Context, bid: str) -> None:
    """Show how far the batch ID is, and what it is made of."""
    api = connected(context)
    _show(context, api, _found(api, bid))


def _show(context: click.Context, api: Api, one: BatchStatus) -> None:
    parts = batch_parts.parts(api, one, FAILED)
    if options.wants_json(context):
        told = msgspec.structs.asdict(BatchSummary.of(one))
        inside = list(map(BatchSummary.of, parts.inside))
        output.record({**told, **parts._asdict(), "inside": inside})
        return
    output.facts([*batchview.facts_of(one), *batchview.parts_of(parts)])


@batch.command(cls=Command)
@click.argument("bid", metavar="ID")
@click.option(
    "--timeout", type=click.FloatRange(0), metavar="S", help="Most seconds to wait; else for ever."
)
@click.pass_context
def wait(context: click.Context, bid: str, timeout: float | None) -> None:
    """Wait until nothing of the batch ID is pending. Fails if a job is dead."""
    api = connected(context)
    _found(api, bid)
    client = Client(None, api.keys.prefix, api.redis)
    try:
        one = Batch.open(bid, client=client).wait(timeout)
    except ResultTimeoutError as error:
        raise Problem(Code.TIMED_OUT, f"{error}; they go on") from None
    except JobNotFoundError:
        raise _gone(bid) from None
    _show(context, api, one)
    if one.dead:
        of = f"of batch {bid}"
        raise Problem(Code.FAILED, f"{counted(one.dead, f'job {of} is', f'jobs {of} are')} dead")


def _acting(name: str) -> click.Command:
    """The command of an action of the table."""
    action = BATCH_ACTIONS[name]

    @click.pass_context
    def act(context: click.Context, bid: str, dry_run: bool = False, yes: bool = False) -> None:
        def done(count: int) -> str:
            return str(action.done(count, bid))

        api = connected(context)
        one = _found(api, bid)
        pending = api.batches.pending(bid) if name == "cancel" else one.pending
        if dry_run:
            meant = f"Batch {bid}; {pending:,} of its jobs are pending"
            count = pending if name == "cancel" else 1
            return bulk.rehearsed(context, count, str(action.effect), meant)
        if action.asks:
            question = f"{action.button} {bid}? {pending:,} of its jobs are pending."
            bulk.confirm(context, f"{action.effect} {question}", yes=yes)
        try:
            if name == "cancel":
                count = bulk.run(api.batches.cancelling(bid), "cancelling", None, done)
            else:
                count = action.do(api.batches, bid)
        except JobNotFoundError:
            raise _gone(bid) from None
        if name == "delete" and not count:
            raise _gone(bid)
        return bulk.report(context, Outcome(count), done(count))

    parameters: list[click.Parameter] = [click.Argument(["bid"], metavar="ID")]
    parameters += [common.dry_run(), common.yes()] if action.asks else []
    return Command(name, callback=act, params=parameters, help=str(action.summary))


for _name in BATCH_ACTIONS:
    batch.add_command(_acting(_name))


@batch.command(cls=Command)
@click.argument("bid", metavar="ID")
@click.option("--repair", is_flag=True, help="Correct it.")
@click.pass_context
def doctor(context: click.Context, bid: str, repair: bool) -> None:
    """Count the jobs of the batch ID again, and look for pending ones."""
    api = connected(context)
    _found(api, bid)
    found = api.batches.recount(bid, repair=repair)
    if options.wants_json(context):
        counters = {name: list(pair) for name, pair in found.counters.items()}
        told = {"missing": list(found.missing), "dead": found.dead, "counters": counters}
        output.record({**told, "repaired": found.repaired})
        return
    for name, (stored, right) in found.counters.items():
        counts = counted(right, "job is", "jobs are")
        output.line(f"{name} is {stored:,}, but {counts}", fg="yellow")
    for number in found.missing:
        output.line(f"job {bid}{number:08x} is pending, but nowhere", fg="yellow")
    if found.dead:
        jobs = counted(found.dead, "pending job is", "pending jobs are")
        output.line(f"{jobs} in the dead set", fg="yellow")
    if not found.counters and not found.missing and not found.dead:
        output.line("nothing is wrong")
    elif found.repaired:
        output.line("repaired")
