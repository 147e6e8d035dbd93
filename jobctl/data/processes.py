"""``jobctl processes``: the worker processes of all hosts, Sidekiq's among them."""

from __future__ import annotations

import time

import click

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.daemon.display import memory
from jobctl.data import bulk, common, completing, output
from jobctl.data.bulk import Outcome
from jobctl.data.connection import connected
from jobctl.data.frame import Command, Group, not_found
from jobctl.data.output import Column
from jobctl.data.words import ago
from jobctl.say import say
from jobd.api import shapes
from jobd.api.actions import PROCESS_ACTIONS
from jobd.api.entry import Api
from jobd.api.processes import EMBEDDED, Process
from jobd.text.counting import counted

_PATIENCE = 12.0
"""Seconds within which a process tells its stacks: it may learn of it with its next heartbeat."""


@click.group("processes", cls=Group)
def processes() -> None:
    """The worker processes of all hosts: what they serve, and quieting and stopping them."""


@processes.command(cls=Command)
@click.pass_context
def ls(context: click.Context) -> None:
    """List the worker processes whose heartbeats arrive."""
    found = connected(context).processes.all()
    if options.wants_json(context):
        output.records(map(shapes.process, found))
        return
    columns = [
        Column("PROCESS", gives=True, last=True),
        Column("STATE"),
        Column("BUSY", right=True),
        Column("QUEUES", gives=True),
        Column("MEMORY", right=True),
        Column("UP", right=True),
        Column("BEAT", right=True),
        Column("VERSION", gives=True),
    ]
    rows = (
        (
            ":".join(process.identity.split(":")[:2]),  # enough to name it in a command
            "quiet" if process.stopping else "running",
            f"{process.busy}/{process.concurrency}",
            " ".join(process.queues),
            memory(process.rss * 1024),
            ago(process.started_at).removesuffix(" ago"),
            ago(process.beat).removesuffix(" ago"),
            f"{'jobd' if process.is_jobd else 'sidekiq'} {process.version}",
        )
        for process in found
    )
    if not output.table(columns, rows):
        output.line("no process has sent a heartbeat in the last minute")


class _Stacks(shapes.Stacks, frozen=True):
    """The same, and of which process."""

    process: str


_process = click.Argument(
    ["identities"], nargs=-1, metavar="[PROCESS]...", shell_complete=completing.processes
)
_all = click.Option(["--all", "everything"], is_flag=True, help="All processes.")


def chosen(
    context: click.Context, api: Api, given: tuple[str, ...], everything: bool
) -> list[Process]:
    """The processes that are meant: by their whole identity, or by its beginning, as far as that
    is clear: ``HOST:PID``, or ``HOST`` for all processes there.

    Raises:
        Problem: there is no such process.
    """
    if bool(given) == everything:
        raise click.UsageError("give the identities of processes, or --all", context)
    known = api.processes.all()
    found: dict[str, Process] = {}
    for each in given:
        those = [one for one in known if f"{one.identity}:".startswith(f"{each}:")]
        if not those:
            raise not_found(
                f"there is no process {each} (any more); jobctl processes ls lists them"
            )
        found |= {one.identity: one for one in those}
    return known if everything else list(found.values())


def _able(found: list[Process], everything: bool) -> list[Process]:
    """Those that take signals.

    Raises:
        Problem: none of those that were named does.
    """
    able = [one for one in found if not one.embedded]
    if not (able or everything):
        raise Problem(Code.FAILED, f"{found[0].identity} {EMBEDDED}")
    return able


def _telling(name: str) -> click.Command:
    action = PROCESS_ACTIONS[name]

    @click.pass_context
    def tell(
        context: click.Context,
        identities: tuple[str, ...],
        everything: bool,
        dry_run: bool,
        yes: bool,
    ) -> None:
        api = connected(context)
        meant = _able(chosen(context, api, identities, everything), everything)
        if dry_run:
            if not options.wants_json(context):
                for one in meant:
                    output.line(one.identity)
            many = counted(len(meant), "process", "processes")
            return bulk.rehearsed(context, len(meant), str(action.effect), many)
        question = f"{action.button} {counted(len(meant), 'process', 'processes')}?"
        bulk.confirm(context, f"{action.effect} {question}", yes=yes)
        if everything:
            told = int(action.do(api.processes, None))
        else:
            told = sum(int(action.do(api.processes, one)) for one in meant)
        name = meant[0].identity if len(meant) == 1 and not everything else ""
        text = str(action.done(told, name))
        if name and not told:
            raise not_found(text)
        return bulk.report(context, Outcome(told), text)

    return Command(
        name,
        callback=tell,
        params=[
            _process,
            _all,
            common.dry_run(),
            common.yes(),
        ],
        short_help=str(action.summary),
        help=f"{action.summary} {action.effect}\n\nPROCESS is an identity of jobctl processes ls, "
        "or its beginning: HOST:PID, or HOST for all processes there.",
    )


@processes.command(cls=Command, params=[_process, _all])
@click.pass_context
def threads(context: click.Context, identities: tuple[str, ...], everything: bool) -> int:
    """Print what the threads of processes are doing, on any host.

    A Sidekiq writes them to its log only.
    """
    api = connected(context)
    meant = _able(chosen(context, api, identities, everything), everything)
    silent = {one.identity for one in meant if one.is_jobd}
    for process in meant:
        PROCESS_ACTIONS["dump"].do(api.processes, process)
        if not process.is_jobd:
            say(f"{process.identity} is a Sidekiq: its stacks are in its log")
    end = time.monotonic() + _PATIENCE
    while silent and time.monotonic() < end:
        for identity, stacks in api.processes.stacks(sorted(silent)).items():
            silent.discard(identity)
            if options.wants_json(context):
                output.record(_Stacks(at=stacks.at, text=stacks.text, process=identity))
            else:
                output.block(stacks.text)
        if silent:
            time.sleep(0.1)
    if silent:
        raise Problem(
            Code.PARTIAL,
            f"no answer within {_PATIENCE:g} s from {', '.join(sorted(silent))}; jobctl threads on "
            "its host shows raw stacks",
        )
    return Code.DONE


processes.add_command(_telling("quiet"))
processes.add_command(_telling("stop"))
