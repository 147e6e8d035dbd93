"""``jobctl why``: one sentence about a job, and the facts below it."""

from __future__ import annotations

import click
import msgspec

from jobctl import options
from jobctl.codes import Code
from jobctl.data import common, jobview, output
from jobctl.data.connection import connected
from jobctl.data.explaining import Explanation, advice, explained
from jobctl.data.frame import Command
from jobctl.data.locating import locate
from jobctl.data.words import arguments, moment, name_of
from jobd.api import shapes
from jobd.api.find import Found
from jobd.api.reasons import Reason


class Because(msgspec.Struct, frozen=True):
    """One reason; as in the data API."""

    kind: str
    text: str
    advice: str
    at: float | None
    blocks: bool


class Why(msgspec.Struct, frozen=True):
    """The answer as JSON: ``place`` is ``work``, ``retry``, ``schedule``, ``dead``,
    ``queue:NAME``, or empty if it was not found; ``state`` is that of a result that is kept."""

    jid: str
    place: str
    why: str
    reasons: list[Because]
    state: str | None
    job: shapes.Job | None


@click.command(cls=Command, params=[click.Argument(["jid"]), common.in_queue()])
@click.pass_context
def why(context: click.Context, jid: str, queue: str | None) -> int:
    """Say why the job with the id JID does not run, or what has become of it.

    What blocks it comes first. The exit code is 1 if the job is not found.
    """
    api = connected(context)
    found = locate(api, jid, queue)
    told = explained(api, jid, found)
    if found is not None and not told.reasons:
        # It has gone on while that was asked.
        found = locate(api, jid, queue)
        told = explained(api, jid, found)
    if options.wants_json(context):
        output.record(_answer(jid, found, told))
    else:
        output.line(told.sentence, fg="red" if told.blocks else None)
        if found is not None:
            _facts(found, told.reasons)
    return Code.DONE if told.known else Code.FAILED


def _facts(found: Found, reasons: list[Reason]) -> None:
    click.echo()
    what = reasons and (advice(reasons[0], found) or str(reasons[0].advice))
    output.facts(
        [
            ("do", what or ""),
            *(
                ("also", " ".join(filter(None, (str(each.text), advice(each, found)))))
                for each in reasons[1:]
            ),
            ("job", f"{name_of(found.job)}({arguments(found.job, 200)})"),
            ("place", jobview.where(found.place)),
            ("queue", found.job.queue),
            ("created", moment(found.job.created_at)),
            ("enqueued", moment(found.job.enqueued_at)),
        ]
    )


def _answer(jid: str, found: Found | None, told: Explanation) -> Why:
    return Why(
        jid,
        "" if found is None else found.place,
        told.sentence,
        [
            Because(each.kind, str(each.text), str(each.advice), each.at, each.blocks)
            for each in told.reasons
        ],
        told.state,
        None if found is None else shapes.job(found.job),
    )
