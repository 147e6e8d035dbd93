"""``jobctl push``: a job by the name of its class."""

from __future__ import annotations

import click
import msgspec

from jobctl import options
from jobctl.data import completing, filters, output
from jobctl.data.connection import address
from jobctl.data.frame import Command
from jobd.jobs.client import Client
from jobd.wire.json_value import UNREADABLE


class Pushed(msgspec.Struct, frozen=True):
    """The id of the job as JSON; null if a unique job like it was there already."""

    jid: str | None


def _retry(_context: click.Context, _option: click.Parameter, given: str | None) -> object:
    if given is None:
        return None
    if given in ("true", "false"):
        return given == "true"
    if given.isascii() and given.isdecimal() and len(given) < 7:
        return int(given)
    raise click.BadParameter(f"{given} is not a number of retries, true or false")


def _named(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> dict[str, object]:
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{each} is not NAME=VALUE")
        found[name] = decoded(value)
    return found


def decoded(text: str) -> object:
    """An argument of the command line: JSON, or else text.

    >>> decoded("42"), decoded("[1]"), decoded("alice"), decoded('"42"')
    (42, [1], 'alice', '42')
    """
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        return text


@click.command(cls=Command)
@click.argument("name", metavar="CLASS", shell_complete=completing.classes)
@click.argument("values", metavar="[ARG]...", nargs=-1)
@click.option(
    "--kwarg",
    "named",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_named,
    help="A keyword argument; repeatable.",
)
@click.option(
    "-q",
    "--queue",
    metavar="NAME",
    help="Its queue.  [default: default]",
    shell_complete=completing.queues,
)
@click.option(
    "--in", "delay", metavar="AGE", callback=filters.age, help="Run it later: 90s, 15m, 2h, 3d."
)
@click.option("--retry", metavar="N", callback=_retry, help="How often to retry it; true or false.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; repeatable.")
@click.option(
    "--option",
    "more",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_named,
    help="Another option of the push, such as keep_result=600 or unique_for=60; repeatable.",
)
@click.pass_context
def push(
    context: click.Context,
    name: str,
    values: tuple[str, ...],
    named: dict[str, object],
    queue: str | None,
    delay: float | None,
    retry: bool | int | None,
    tags: tuple[str, ...],
    more: dict[str, object],
) -> None:
    """Push a job of CLASS with these arguments, and print its id.

    An argument is JSON (42, true, null, '["a"]') or, if it is not, text; '"42"' is the text 42.
    Put -- before a negative number. The code of the job is not needed here, so its own queue and
    options are not known: give them.
    """
    item: dict[str, object] = {"class": name, "args": [decoded(value) for value in values]}
    if named:
        item["kwargs"] = named
    if queue is not None:
        item["queue"] = queue
    if retry is not None:
        item["retry"] = retry
    if tags:
        item["tags"] = [*tags]
    if delay is not None:
        item["at"] = delay
    if twice := sorted(item.keys() & more.keys()):
        raise click.UsageError(f"--option {twice[0]}: the command line says that already", context)
    jid = Client(*address(context)).push({**more, **item})
    if options.wants_json(context):
        output.record(Pushed(None if jid is None else str(jid)))
    else:
        output.line(jid or "not pushed: a unique job like it is there already")
