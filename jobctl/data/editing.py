"""``jobctl jobs edit``: other arguments for a job that waits, or another queue."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import click
import msgspec

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.data import bulk, common, completing, output
from jobctl.data.bulk import Outcome
from jobctl.data.connection import connected
from jobctl.data.frame import Command, not_found
from jobctl.data.locating import one_job
from jobctl.data.words import as_json
from jobd.api.entry import Api
from jobd.api.features.held_back import LOCK
from jobd.api.find import WORK, Found
from jobd.api.records import JobRecord
from jobd.api.sets.entries import SortedEntry
from jobd.wire.json_value import UNREADABLE, Array, Object

_MOST_BYTES = 500_000
"""Bytes of a payload that can be edited; as in the dashboard."""

_SHOWN = 1_000
"""Characters of a value that a rehearsal shows."""


class Editable(msgspec.Struct, forbid_unknown_fields=True):
    """What an editor shows of a job."""

    args: Array
    kwargs: Object
    queue: str


@click.command(
    cls=Command,
    params=[
        click.Argument(["jid"]),
        common.in_queue(),
        click.Option(["--args"], metavar="JSON", help="The arguments, as a JSON list."),
        click.Option(["--kwargs"], metavar="JSON", help="The keyword arguments, as an object."),
        click.Option(
            ["--to"], metavar="NAME", help="Another queue.", shell_complete=completing.queues
        ),
        common.dry_run(),
        common.yes(),
    ],
)
@click.pass_context
def edit(
    context: click.Context,
    /,
    jid: str,
    queue: str | None,
    args: str | None,
    kwargs: str | None,
    to: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Change a job that waits in its queue or in a set. One of a set then runs now.

    Without --args, --kwargs and --to, its arguments and queue are opened in $VISUAL or $EDITOR. A
    job of a queue keeps its place; one that goes to another queue is the last there. Any other goes
    into its queue, also if it was scheduled for later. The original stays in the trash for a day.
    """
    api = connected(context)
    found = one_job(api, jid, queue)
    job = _checked(jid, found)
    now = _editable(job)
    given = {name: text for name, text in (("args", args), ("kwargs", kwargs)) if text is not None}
    told = bool(given) or to is not None
    wanted = _read(_document(now, given, to)) if told else _edited(context, now)
    if wanted == now:
        rest = "; jobctl jobs retry runs it as it is" if isinstance(job, SortedEntry) else ""
        raise Problem(Code.FAILED, f"nothing was changed{rest}")
    changes = _changes(job, wanted)
    check, replace = _calls(api, job)
    check(changes)
    moves = isinstance(job, SortedEntry) or wanted.queue != job.queue
    if dry_run:
        return bulk.rehearsed(context, 1, _difference(now, wanted))
    effect = f"Put {jid} into queue {wanted.queue} now" if moves else f"Change {jid} at its place"
    bulk.confirm(context, f"{effect}, with these changes?", yes=yes)
    if not replace(changes):
        raise not_found(
            f"nothing was done: {jid} is not there any more: a worker has taken it, or somebody "
            "has moved or deleted it"
        )
    said = f"{jid} is in queue {wanted.queue} with the changes"
    bulk.report(context, Outcome(1, ref=api.last_ref), said)
    return None


def _checked(jid: str, found: Found) -> JobRecord:
    job = found.job
    if found.place == WORK:
        raise Problem(
            Code.FAILED,
            f"{jid} cannot be changed: a worker has it; jobctl jobs cancel {jid} ends it",
        )
    if found.place == LOCK:
        raise Problem(
            Code.FAILED,
            f"{jid} cannot be changed: it waits for a lock; jobctl jobs cancel {jid} ends it",
        )
    if not job.item:
        raise Problem(Code.FAILED, "these bytes are not a job and cannot be changed; delete them")
    if len(job.value) > _MOST_BYTES:
        raise Problem(
            Code.FAILED, f"a job of more than {_MOST_BYTES:,} bytes cannot be changed here"
        )
    return job


def _calls(api: Api, job: JobRecord) -> tuple[Callable[..., object], Callable[..., bool]]:
    """What checks changes of a job, and what makes them."""
    if isinstance(job, SortedEntry):
        return partial(job.parent.replacement, job), partial(job.parent.replace, job)
    queue = api.queue(job.queue)
    return partial(queue.replacement, job), partial(queue.replace, job)


def _difference(now: Editable, wanted: Editable) -> str:
    """What would become of what."""
    before, after = msgspec.to_builtins(now), msgspec.to_builtins(wanted)
    parts = [
        f"{name}: {as_json(before[name], _SHOWN)} becomes {as_json(after[name], _SHOWN)}."
        for name in after
        if before[name] != after[name]
    ]
    return " ".join(parts)


def _editable(job: JobRecord) -> Editable:
    """What may be seen and changed: of a job with ``encrypt``, not the last argument."""
    if job["encrypt"]:
        return Editable(job.args[:-1], {}, job.queue)
    return Editable(job.args, job.kwargs, job.queue)


def _changes(job: JobRecord, wanted: Editable) -> dict[str, object]:
    changes: dict[str, object] = {"class": job.klass, "args": wanted.args, "queue": wanted.queue}
    if job["encrypt"]:
        if wanted.kwargs:
            raise Problem(Code.USAGE, "a job with encrypted arguments has no keyword arguments")
        changes["args"] = [*wanted.args, *job.args[-1:]]
    elif wanted.kwargs or job.kwargs:
        changes["kwargs"] = wanted.kwargs
    return changes


def _document(now: Editable, given: dict[str, str], to: str | None) -> bytes:
    """*now* with what the command line says, as JSON."""
    fields: dict[str, object] = {}
    for name, value in msgspec.to_builtins(now).items():
        fields[name] = value if name not in given else _json(f"--{name}", given[name])
    if to is not None:
        fields["queue"] = to
    return msgspec.json.encode(fields)


def _json(option: str, text: str) -> object:
    try:
        return msgspec.json.decode(text.encode(errors="replace"))
    except UNREADABLE as error:
        raise Problem(Code.USAGE, f"{option} is not JSON: {error}") from None


def _read(document: bytes) -> Editable:
    try:
        return msgspec.json.decode(document, type=Editable)
    except UNREADABLE as error:
        raise Problem(Code.USAGE, f"the job cannot be changed like that: {error}") from None


def _edited(context: click.Context, now: Editable) -> Editable:
    """What a person makes of it; what is wrong can be corrected."""
    if options.wants_json(context) or not sys.stdin.isatty():
        text = "there is no terminal for an editor: give --args, --kwargs or --to"
        raise Problem(Code.USAGE, text)
    text = msgspec.json.format(msgspec.json.encode(now), indent=2).decode() + "\n"
    while True:
        made = click.edit(text, extension=".json")
        if made is None:
            return now  # closed without saving
        try:
            return _read(made.encode(errors="replace"))
        except Problem as problem:
            output.line(str(problem), fg="red")
            if not click.confirm("Edit it again?", default=True):
                raise
            text = made
