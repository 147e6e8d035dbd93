"""``jobctl why``: why a job does not run, or what has become of it: one sentence, and the facts
below it."""

from __future__ import annotations

from dataclasses import dataclass

import click
import msgspec

from jobctl import options
from jobctl.codes import Code
from jobctl.data import common, jobview, output
from jobctl.data.connection import connected
from jobctl.data.frame import Command
from jobctl.data.locating import locate
from jobctl.data.words import arguments, error_of, moment, name_of
from jobd.api import shapes
from jobd.api.entry import Api
from jobd.api.features.absent import why_absent, why_held_back
from jobd.api.features.held_back import LOCK
from jobd.api.find import WORK, Found
from jobd.api.reasons import why_in_flight, why_queued, why_waiting
from jobd.api.sets.entries import SortedEntry
from jobd.api.shared.reason import Reason

_NOT_FOUND = "It is not in Redis: it is done, was deleted, or was never pushed."

_ENDS = {
    "done": "It is done.",
    "failed": "It failed for good.",
    "cancelled": "It was cancelled or deleted.",
    "expired": "It expired: it was not started in time.",
}


class Why(msgspec.Struct, frozen=True):
    """The answer as JSON: ``place`` is ``work``, ``lock``, ``retry``, ``schedule``, ``dead``,
    ``queue:NAME``, or empty if it was not found; ``state`` is that of a result that is kept."""

    jid: str
    place: str
    why: str
    reasons: list[shapes.Why]
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
    if not told.known and (reasons := why_absent(api, jid)):
        told = _said(reasons, told.state)
    if options.wants_json(context):
        output.record(_answer(jid, found, told))
    else:
        output.line(told.sentence, fg="red" if told.blocks else None)
        _facts(found, told.reasons)
    return Code.DONE if told.known else Code.FAILED


def _facts(found: Found | None, reasons: list[Reason]) -> None:
    first, others = reasons[:1], reasons[1:]
    facts = [
        *(("do", advice(each, found) or str(each.advice)) for each in first),
        *(("also", _with_advice(each, found)) for each in others),
    ]
    if found is not None:
        facts += [
            ("job", f"{name_of(found.job)}({arguments(found.job, 200)})"),
            ("place", jobview.where(found.place)),
            ("queue", found.job.queue),
            ("created", moment(found.job.created_at)),
            ("enqueued", moment(found.job.enqueued_at)),
            ("error", error_of(found.job)),
        ]
    if any(value for _, value in facts):
        click.echo()
        output.facts(facts)


def _with_advice(reason: Reason, found: Found | None) -> str:
    """A further reason; what to do about it is said where nothing else than that helps."""
    what = advice(reason, found) or (str(reason.advice) if reason.blocks else "")
    return " ".join(filter(None, (str(reason.text), what)))


def _answer(jid: str, found: Found | None, told: Explanation) -> Why:
    return Why(
        jid,
        "" if found is None else found.place,
        told.sentence,
        list(map(shapes.Why.of, told.reasons)),
        told.state,
        None if found is None else shapes.job(found.job),
    )


# -- the explanation, also for the full-screen display ---------------------------------------------


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a job.

    Attributes:
        sentence: the answer; *blocks* says that it will not run before somebody does something.
        reasons: what blocks it first.
        state: that of a result that is kept.
        known: it is there, or it is known how it has ended.
    """

    sentence: str
    blocks: bool
    reasons: list[Reason]
    state: str | None
    known: bool


def explained(api: Api, jid: str, found: Found | None) -> Explanation:
    """Explain the job of that id, which was found there, or not.

    Cost: that of :func:`jobd.api.reasons.why_queued`.
    """
    reasons = [] if found is None else reasons_of(api, found)
    state, ended = _result(api, jid)
    if reasons:
        return _said(reasons, state)
    sentence = "It has just moved; ask again." if found is not None else ended or _NOT_FOUND
    return Explanation(sentence, False, reasons, state, found is not None or bool(ended))


def _said(reasons: list[Reason], state: str | None) -> Explanation:
    """The explanation with some *reasons*, the first of which is the answer."""
    return Explanation(str(reasons[0].text), reasons[0].blocks, reasons, state, True)


def reasons_of(api: Api, found: Found) -> list[Reason]:
    """The reasons why it waits there; none if it is there no more."""
    if found.place == WORK:
        return why_in_flight(api, found.job.jid)
    if found.place == LOCK:
        return why_held_back(api, found.job)
    if isinstance(found.job, SortedEntry):
        return why_waiting(api, found.job)
    return why_queued(api, found.job, found.job.before)


def _result(api: Api, jid: str) -> tuple[str | None, str]:
    """What is kept of a job that keeps its result: its state, and a sentence if it has ended."""
    try:
        info = api.result(jid).info
    except KeyError:
        return None, ""
    sentence = _ENDS.get(info.state, "")
    if sentence and info.ended_at is not None:
        sentence = f"{sentence[:-1]}, {moment(info.ended_at)}."
    if sentence and info.error:
        sentence += f" {info.error[:1000]}"
    return info.state, sentence


def advice(reason: Reason, found: Found | None) -> str:
    """The command that helps, where there is one; the data API speaks of pages."""
    if found is None:
        return ""
    job = found.job
    commands = {
        "paused": f"jobctl queues resume {job.queue}",
        "not_obeyed": "jobctl processes quiet PROCESS",
        "next": f"Ask again: jobctl why {job.jid}",
        "retry": f"Fix the cause, then: jobctl retries retry {job.jid}",
        "scheduled": f"To run it now: jobctl scheduled retry {job.jid}",
        "dead": f"Fix the cause, then: jobctl dead retry {job.jid}",
        "silent": "jobctl processes ls; on that host: jobctl threads",
        "cancelling": f"If it runs on: jobctl jobs cancel {job.jid} --force",
        "running": f"To follow it: jobctl wait {job.jid}",
    }
    return commands.get(reason.kind, "")
