"""Why a job does not run, or what has become of it, for people: the sentence, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass

from jobctl.data.words import moment
from jobd.api.entry import Api
from jobd.api.find import WORK, Found
from jobd.api.reasons import Reason, why_in_flight, why_queued, why_waiting
from jobd.api.sets.entries import SortedEntry

_NOT_FOUND = "It is not in Redis: it is done, was deleted, or was never pushed."

_ENDS = {
    "done": "It is done.",
    "failed": "It failed for good.",
    "cancelled": "It was cancelled or deleted.",
    "expired": "It expired: it was not started in time.",
}


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
    reasons.sort(key=lambda reason: not reason.blocks)
    state, ended = _result(api, jid)
    blocks = False
    if found is None:
        sentence = ended or _NOT_FOUND
    elif reasons:
        sentence, blocks = str(reasons[0].text), reasons[0].blocks
    else:
        sentence = "It has just moved; ask again."
    return Explanation(sentence, blocks, reasons, state, found is not None or bool(ended))


def reasons_of(api: Api, found: Found) -> list[Reason]:
    """The reasons why it waits there; none if it is there no more."""
    if found.place == WORK:
        return why_in_flight(api, found.job.jid)
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


def advice(reason: Reason, found: Found) -> str:
    """The command that helps, where there is one; the data API speaks of pages."""
    job = found.job
    commands = {
        "paused": f"jobctl queues resume {job.queue}",
        "not_obeyed": "jobctl processes quiet PROCESS",
        "next": f"Ask again: jobctl why {job.jid}",
        "retry": f"Fix the cause, then: jobctl retries retry {job.jid}",
        "scheduled": f"To run it now: jobctl scheduled retry {job.jid}",
        "dead": f"Fix the cause, then: jobctl dead retry {job.jid}",
        "silent": "jobctl processes ls; on that host: jobctl threads",
        "running": f"To follow it: jobctl wait {job.jid}",
    }
    return commands.get(reason.kind, "")
