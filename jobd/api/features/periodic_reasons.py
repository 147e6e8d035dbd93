"""Why a periodic job does not run: what keeps its next tick from being pushed, and what became of
the last one."""

from __future__ import annotations

from typing import cast

from jobd.api.features.attached import when
from jobd.api.features.periodic import PeriodicJob, PeriodicJobs
from jobd.api.session import Session
from jobd.api.shared.reason import Reason
from jobd.schedules.entry import lock_of
from jobd.store.known import Known
from jobd.store.ticks import Record
from jobd.text.printable import shortened
from jobd.text.translatable import Text

OVERDUE = 5.0
"""Seconds after a tick from which on it is strange that nobody has decided it."""


def why_not_due(session: Session, job: PeriodicJob) -> list[Reason]:
    """Why a periodic job does not run, what blocks it first; at least when it is due.

    The kinds are ``paused``, ``nobody``, ``no_keeper``, ``overlap``, ``scheduled``, ``changed``,
    and ``missed`` or ``skipped`` for what became of its last tick.

    Cost: O(classes that workers know).

    Raises:
        UnavailableError: the server does not answer.
    """
    seconds, micros = session.redis.time()
    now = seconds + micros / 1e6
    reasons = []
    if job.next is None:
        text = Text("It was paused %(at)s.", at=when(job.paused or 0.0))
        reasons.append(Reason("paused", text, Text("Resume it."), job.paused, blocks=True))
    if unable := Known(session.redis, session.keys).missing(job.entry, now):
        text = Text("Nobody could run its job: %(reason)s.", reason=shortened(unable, 300))
        advice = Text(
            "Start a worker of that version of the application. Ticks are held for %(seconds)s s, "
            "and then missed.",
            seconds=f"{job.entry.grace:g}",
        )
        reasons.append(Reason("nobody", text, advice, blocks=True))
    if job.next is not None and not unable:
        reasons += _overdue(session, job.next, now)
    if holder := _holder(session, job):
        text = Text(
            "The job %(jid)s of an earlier tick has not ended, so the next tick will be skipped.",
            jid=shortened(holder, 100),
        )
        reasons.append(Reason("overlap", text, Text("Ask why that job does not end.")))
    if job.next is not None and job.next > now:
        text = Text("It is due next %(at)s.", at=when(job.next))
        reasons.append(Reason("scheduled", text, at=job.next))
    if job.changed:
        text = Text("A user has changed its line: %(line)s.", line=shortened(str(job.line), 200))
        reasons.append(Reason("changed", text, Text("Reset it, or deploy.")))
    return reasons + _last(job.last)


def _overdue(session: Session, tick: float, now: float) -> list[Reason]:
    """That a tick should have been decided."""
    if now - tick <= OVERDUE:
        return []
    if PeriodicJobs(session).leader().leads(now):
        text = Text("It was due %(at)s, and no keeper has pushed its job.", at=when(tick))
        advice = Text("Look for tick_held and schedule_unusable in the log of the leader.")
    else:
        text = Text("It was due %(at)s, but no keeper leads: no daemon is running.", at=when(tick))
        advice = Text("Start one: jobd start.")
    return [Reason("no_keeper", text, advice, tick, blocks=True)]


def _holder(session: Session, job: PeriodicJob) -> str:
    """The job that keeps the next tick out; "" if none does."""
    lock = lock_of(job.entry)
    if lock is None:
        return ""
    key = session.keys.lock(lock.key)
    return (cast("bytes | None", session.redis.hget(key, "jid")) or b"").decode(errors="replace")


def _last(record: Record | None) -> list[Reason]:
    if record is None:
        return []
    at = when(record.tick)
    if record.what == "missed":
        why = shortened(record.why, 300)
        text = Text("The tick %(at)s was missed: %(reason)s.", at=at, reason=why)
    elif record.what == "skipped":
        jid = shortened(record.holder, 100)
        text = Text("The tick %(at)s was skipped: job %(jid)s had not ended.", at=at, jid=jid)
    else:
        return []
    return [Reason(record.what, text, at=record.tick)]
