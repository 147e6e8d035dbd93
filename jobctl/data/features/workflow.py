"""``jobctl workflow``: steps that depend on each other."""

from __future__ import annotations

import itertools

import click
import msgspec

from jobctl import options
from jobctl.codes import Problem
from jobctl.data import bulk, common, output
from jobctl.data.bulk import Outcome
from jobctl.data.connection import connected
from jobctl.data.frame import Command, Group, not_found
from jobctl.data.output import Column
from jobctl.data.words import ago, moment
from jobd.api import Api
from jobd.api.features.workflow_actions import WORKFLOW_ACTIONS
from jobd.api.features.workflow_shapes import WorkflowStep, WorkflowSummary
from jobd.features.workflows.record import StepInfo, WorkflowInfo

_MOST = 50
"""Steps that are shown, unless all are asked for."""

_FIRST = ("failed", "expired", "cancelled", "pushed", "blocked")


@click.group("workflow", cls=Group)
def workflow() -> None:
    """Workflows: chains, groups, chords and graphs of jobs."""


def _gone(ref: str) -> Problem:
    return not_found(f"there is no workflow {ref}; jobctl workflow ls lists them")


def _found(api: Api, ref: str) -> WorkflowInfo:
    try:
        return api.workflows[ref]
    except KeyError:
        raise _gone(ref) from None


@workflow.command(cls=Command, params=[common.limit("workflows")])
@click.option(
    "--state",
    type=click.Choice(["running", "done", "failed", "cancelled"]),
    help="Only those in this state.",
)
@click.pass_context
def ls(context: click.Context, state: str | None, limit: int) -> None:
    """List the workflows, the newest first."""
    api = connected(context)
    wanted = (one for one in api.workflows if state in (None, one.state))
    found = list(itertools.islice(wanted, limit or None))
    if options.wants_json(context):
        output.records(map(WorkflowSummary.of, found))
        return
    columns = [
        Column("ID"),
        Column("NAME", gives=True),
        Column("STATE"),
        Column("DONE", right=True),
        Column("FAILED", right=True),
        Column("PUSHED"),
    ]
    rows = (
        (
            one.id,
            one.name,
            one.state,
            f"{one.done:,}/{one.size:,}",
            f"{one.failed + one.passed:,}",
            ago(one.created_at),
        )
        for one in found
    )
    if not output.table(columns, rows):
        output.line("no workflows")


@workflow.command(cls=Command)
@click.argument("ref", metavar="ID")
@click.option("--all", "every", is_flag=True, help=f"All steps, not only {_MOST}.")
@click.pass_context
def show(context: click.Context, ref: str, every: bool) -> None:
    """Show the workflow ID and its steps. First those that have failed or wait for a worker."""
    info = _found(connected(context), ref)
    one = info.summary
    if options.wants_json(context):
        told = msgspec.structs.asdict(WorkflowSummary.of(one))
        output.record({**told, "steps": list(map(WorkflowStep.of, info.steps))})
        return
    output.line(f"{one.name or 'workflow'} {one.id}: {one.state}")
    output.line(f"{one.done:,} of {one.size:,} steps done, {one.failed + one.passed:,} failed")
    output.line(f"pushed {moment(one.created_at)}")
    if one.ended_at is not None:
        output.line(f"ended {moment(one.ended_at)}")
    if one.cancelled:
        by = "a step that has failed" if one.cancelled == "step" else "a user"
        output.line(f"cancelled by {by}", fg="yellow")
    steps = sorted((each for each in info.steps if each.job), key=urgency)
    shown = steps if every else steps[:_MOST]
    columns = [
        Column("STEP", right=True),
        Column("NAME", gives=True),
        Column("JOB", gives=True),
        Column("STATE"),
        Column("JID"),
    ]
    rows = ((str(each.number), each.label, each.job, each.state, each.jid) for each in shown)
    output.table(columns, rows)
    # Whole, as nothing else has them where the job is gone.
    output.facts((f"step {each.number}", each.error) for each in shown)
    if len(shown) < len(steps):
        output.line(f"and {len(steps) - len(shown):,} more; --all shows them")


def urgency(step: StepInfo) -> tuple[int, int]:
    """For sorting: first what has failed or waits for a worker."""
    return (_FIRST.index(step.state) if step.state in _FIRST else len(_FIRST), step.number)


def _acting(name: str) -> click.Command:
    """The command of an action of the table."""
    action = WORKFLOW_ACTIONS[name]

    @click.pass_context
    def act(context: click.Context, ref: str, dry_run: bool = False, yes: bool = False) -> None:
        def done(count: int) -> str:
            return str(action.done(count, ref))

        api = connected(context)
        one = _found(api, ref).summary
        if dry_run:
            meant = f"Workflow {ref}; {one.done:,} of its {one.size:,} steps are done"
            return bulk.rehearsed(context, 1, str(action.effect), meant)
        if action.asks:
            question = f"{action.button} {ref}? {one.done:,} of its {one.size:,} steps are done."
            bulk.confirm(context, f"{action.effect} {question}", yes=yes)
        try:
            if name != "cancel":
                count = action.do(api.workflows, ref)
            elif (steps := api.workflows.cancelling(ref)) is not None:
                bulk.run(steps, "cancelling", None, lambda _: done(1))
                count = 1
            else:
                count = 0
        except KeyError:
            raise _gone(ref) from None
        return bulk.report(context, Outcome(count), done(count))

    parameters: list[click.Parameter] = [click.Argument(["ref"], metavar="ID")]
    parameters += [common.dry_run(), common.yes()] if action.asks else []
    return Command(name, callback=act, params=parameters, help=str(action.summary))


for _name in WORKFLOW_ACTIONS:
    workflow.add_command(_acting(_name))
