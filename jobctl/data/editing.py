"""``jobctl jobs edit``: other arguments for a job that waits in a set or is dead."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.data import bulk, common, completing, jobview, output
from jobctl.data.bulk import Outcome
from jobctl.data.connection import connected
from jobctl.data.frame import Command, not_found
from jobctl.data.locating import locate
from jobd.api.sets.entries import SortedEntry

_MOST = 500_000
"""Bytes of a payload that can be edited; as in the dashboard."""


class Editable(msgspec.Struct, forbid_unknown_fields=True):
    """What an editor shows of a job."""

    args: list[Any]
    kwargs: dict[str, Any]
    queue: str


@click.command(
    "edit",
    cls=Command,
    params=[
        click.Argument(["jid"]),
        click.Option(["--args"], metavar="JSON", help="The arguments, as a JSON list."),
        click.Option(["--kwargs"], metavar="JSON", help="The keyword arguments, as an object."),
        click.Option(
            ["--to"], metavar="NAME", help="Another queue.", shell_complete=completing.queues
        ),
        common.yes(),
    ],
)
@click.pass_context
def edit(
    context: click.Context,
    /,
    jid: str,
    args: str | None,
    kwargs: str | None,
    to: str | None,
    yes: bool,
) -> None:
    """Change a retry, or a scheduled or dead job, and run it now.

    Without --args, --kwargs and --to, its arguments and queue are opened in $VISUAL or $EDITOR. The
    changed job goes into its queue, also if it was scheduled for later; the original stays in the
    trash for a day.
    """
    api = connected(context)
    entry = _entry(jid, locate(api, jid, None))
    now = _editable(entry)
    given = {name: text for name, text in (("args", args), ("kwargs", kwargs)) if text is not None}
    told = bool(given) or to is not None
    wanted = _read(_document(now, given, to)) if told else _edited(context, now)
    if wanted == now:
        raise Problem(Code.FAILED, "nothing was changed; jobctl jobs retry runs it as it is")
    question = f"Put {jid} into queue {wanted.queue} now, with these changes?"
    bulk.confirm(context, question, yes=yes)
    if not entry.replace(_changes(entry, wanted)):
        raise not_found(f"nothing was done: {jid} is not there any more, somebody was faster")
    said = f"{jid} is in queue {wanted.queue} with the changes"
    bulk.report(context, Outcome(1, ref=api.last_ref), said)


def _entry(jid: str, found: Any) -> SortedEntry:
    if found is None:
        raise not_found(f"there is no job {jid}: it is done, was deleted, or was never pushed")
    entry = found.job
    if not isinstance(entry, SortedEntry):
        where = jobview.where(found.place)
        raise Problem(
            Code.FAILED,
            f"{jid} is in another place ({where}): only a job that is scheduled, waits for a retry "
            "or is dead can be changed",
        )
    if not entry.item:
        raise Problem(Code.FAILED, "these bytes are not a job and cannot be changed; delete them")
    if len(entry.value) > _MOST:
        raise Problem(Code.FAILED, f"a job of more than {_MOST:,} bytes cannot be changed here")
    return entry


def _editable(entry: SortedEntry) -> Editable:
    """What may be seen and changed: of a job with ``encrypt``, not the last argument."""
    if entry["encrypt"]:
        return Editable(entry.args[:-1], {}, entry.queue)
    return Editable(entry.args, entry.kwargs, entry.queue)


def _changes(entry: SortedEntry, wanted: Editable) -> dict[str, Any]:
    changes: dict[str, Any] = {"class": entry.klass, "args": wanted.args, "queue": wanted.queue}
    if entry["encrypt"]:
        if wanted.kwargs:
            raise Problem(Code.USAGE, "a job with encrypted arguments has no keyword arguments")
        changes["args"] = [*wanted.args, *entry.args[-1:]]
    elif wanted.kwargs or entry.kwargs:
        changes["kwargs"] = wanted.kwargs
    return changes


def _document(now: Editable, given: dict[str, str], to: str | None) -> bytes:
    """*now* with what the command line says, as JSON."""
    fields: dict[str, Any] = {}
    for name, value in msgspec.to_builtins(now).items():
        fields[name] = value if name not in given else _json(f"--{name}", given[name])
    if to is not None:
        fields["queue"] = to
    return msgspec.json.encode(fields)


def _json(option: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode(errors="replace"))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Problem(Code.USAGE, f"{option} is not JSON: {error}") from None


def _read(document: bytes) -> Editable:
    try:
        return msgspec.json.decode(document, type=Editable)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
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
