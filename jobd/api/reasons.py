"""Why a job is not running: what the data says, and what can be done about it.

Everything is read when it is asked for. Workers send a heartbeat every ten seconds, so what they do
may be ten seconds old.
"""

from __future__ import annotations

from dataclasses import replace

from jobd.ambient import clock
from jobd.api.features.attached import notes, when
from jobd.api.inflight import UNCOUNTED, Claim, InFlightSet, uncounted
from jobd.api.known import unknown
from jobd.api.processes import Process, ProcessSet
from jobd.api.queues.obstacles import obstacles
from jobd.api.queues.queues import Queue
from jobd.api.reading import answers, number
from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.api.sets.entries import SortedEntry
from jobd.api.shared.reason import Reason
from jobd.api.work import Work, WorkSet
from jobd.settings.daemon import Config
from jobd.text.printable import shortened
from jobd.text.translatable import Text

LATE = 10.0
"""Seconds after its time from which on it is strange that a job is still in its set; Sidekiq's
processes look about every five seconds."""

SILENT = 20.0
"""Seconds without a heartbeat, which are two missed ones, from which on something is wrong."""

_IN_THE_WAY = ("expired", "aside")
"""The kinds of notes that say why it does not run, whatever its queue is like."""

_WHOLES = ("tick", "batch", "callback", "workflow")
"""The kinds of notes that say what a job is part of."""


def why_queued(session: Session, job: JobRecord, ahead: int | None = None) -> list[Reason]:
    """Why a job that waits in a queue does not run, what blocks it first.

    Cost: O(processes) and, where all threads are busy, O(running jobs).

    Args:
        job: as it was read from its queue.
        ahead: how many jobs run before it, as far as known.

    Raises:
        UnavailableError: the server does not answer.
    """
    processes = ProcessSet(session).all()
    reasons = obstacles(session, job.queue, processes) + _unknown(session, job, processes)
    if ahead is not None:
        reasons.append(_position(session, job, ahead, stuck=any(each.blocks for each in reasons)))
    if not reasons or all(each.kind == "position" for each in reasons):
        reasons.append(
            Reason(
                "next",
                Text(
                    "Nothing holds it back: at their last heartbeats the processes that serve its "
                    "queue had free threads."
                ),
                Text("Load this page again: it should be running by now."),
            )
        )
    return _blocking_first(reasons + _attached(job))


def why_waiting(session: Session, entry: SortedEntry) -> list[Reason]:
    """Why a job that waits in a sorted set does not run: for its time, and for what will keep it
    waiting when that has come. Costs as :func:`why_queued`."""
    if entry.parent.name == "dead":
        return [_death(session, entry), *_belonging(entry)]
    late = -entry.waits
    if entry.parent.name == "retry":
        reasons = [_attempt(entry)]
    else:
        text = Text("It is scheduled, and will run %(at)s.", at=when(entry.score))
        advice = Text("Add it to its queue to run it now.")
        reasons = [Reason("scheduled", text, advice, entry.score)]
    if late > LATE:
        reasons = [_lateness(session, entry)]
    reasons = _blocking_first(reasons + _attached(entry))
    processes = ProcessSet(session).all()
    found = obstacles(session, entry.queue, processes) + _unknown(session, entry, processes)
    later = (each for each in found if each.blocks)
    return reasons + [
        replace(each, text=Text("Then: %(reason)s", reason=each.text)) for each in later
    ]


def why_in_flight(session: Session, jid: str) -> list[Reason]:
    """What keeps a job that a worker has taken: it runs, or its worker is dead; empty if it is not
    in flight any more. Cost: O(running jobs)."""
    work = WorkSet(session).find_work(jid)
    claim = InFlightSet(session).find_job(jid)
    held = claim or work
    if held is None:
        return []
    return [*_cancelled(session, claim), *_taken(session, work, claim), *_belonging(held.job)]


def _cancelled(session: Session, claim: Claim | None) -> list[Reason]:
    """That somebody has asked for the end of a job that is in flight."""
    if claim is None:
        return []
    with session.redis.pipeline(transaction=False) as pipe:
        pipe.hget(session.keys.cancels(claim.owner), claim.tag)
        [asked] = answers(pipe)
    if asked is None:
        return []
    if asked == b"force":
        text = Text("It was cancelled by force: its process is replaced if it does not end.")
        return [Reason("cancelling", text)]
    at = number(asked)
    text = Text(
        "It was cancelled %(at)s, and runs on until its code can be interrupted.", at=when(at)
    )
    advice = Text("If it runs on, cancel it by force: its process is replaced.")
    return [Reason("cancelling", text, advice, at)]


def _taken(session: Session, work: Work | None, claim: Claim | None) -> list[Reason]:
    owner = claim.owner if claim is not None else work.process if work is not None else ""
    process = _process(session, owner)
    now = clock.now()
    if claim is not None and claim.lease <= 0:
        return [
            Reason(
                "orphaned",
                Text(
                    "Its process %(process)s is dead, and the job is about to be taken back.",
                    process=owner,
                ),
                Text(
                    "Any running jobd on this Redis does that within some seconds. If none runs, "
                    "start one: jobd start."
                ),
            )
        ]
    if claim is not None and process is None and uncounted(session) > UNCOUNTED:
        return [
            Reason(
                "orphaned",
                Text(
                    "Its process %(process)s is dead, and no daemon runs that would take the job "
                    "back.",
                    process=owner,
                ),
                Text("Start one: jobd start. The job then goes back to its queue."),
            )
        ]
    if claim is not None and process is None:
        return [
            Reason(
                "silent",
                Text(
                    "Its process %(process)s has sent no heartbeat for a minute. If it is dead, "
                    "the job goes back to its queue when its lease ends, %(at)s.",
                    process=owner,
                    at=when(now + claim.lease),
                ),
                Text(
                    "Wait. If the process lives and hangs, jobctl threads on its host shows where."
                ),
                now + claim.lease,
            )
        ]
    if work is not None:
        if claim is None and process is not None and process.is_jobd:
            text = Text(
                "It was running at the last heartbeat of %(process)s, and has ended since then.",
                process=owner,
            )
            return [Reason("ended", text, Text("Look for it again."))]
        text = Text(
            "It is running in %(process)s, and was started %(at)s.",
            process=owner,
            at=when(work.run_at),
        )
        running = Reason("running", text, at=work.run_at)
        if process is None or now - process.beat <= SILENT:
            return [running]
        text = Text(
            "The last heartbeat of its process %(process)s was %(at)s: it is very busy, stopped, "
            "or dead.",
            process=owner,
            at=when(process.beat),
        )
        if claim is not None:
            text = Text(
                "The last heartbeat of its process %(process)s was %(at)s: it is very busy, "
                "stopped, or dead. If it is dead, the job goes back to its queue in %(seconds)s s, "
                "when its lease ends.",
                process=owner,
                at=when(process.beat),
                seconds=f"{claim.lease:.0f}",
            )
        return [Reason("silent", text, Text("Ask for its stacks."), process.beat), running]
    if claim is not None:
        text = Text(
            "%(process)s has claimed it: it is running there, starts within a quarter of a second, "
            "or goes back to its queue. The next heartbeat of the process, within ten seconds, "
            "shows which.",
            process=owner,
        )
        return [Reason("claimed", text)]
    return []


def _unknown(session: Session, job: JobRecord, processes: list[Process]) -> list[Reason]:
    """That nobody has its code. Sidekiq does not tell what it knows."""
    serving = [process for process in processes if job.queue in process.queues]
    if not all(process.is_jobd for process in serving) or not unknown(session, job.klass):
        return []
    text = Text(
        "No living worker knows the class %(job)s: it would fail, and be tried again later.",
        job=shortened(job.klass, 100),
    )
    advice = Text("Deploy the code that has it, or name its module in the setting require.")
    return [Reason("unknown_class", text, advice, blocks=True)]


def _position(session: Session, job: JobRecord, ahead: int, *, stuck: bool) -> Reason:
    text = (
        Text.counted(
            "%(count)s job is ahead of it in its queue.",
            "%(count)s jobs are ahead of it in its queue.",
            ahead,
        )
        if ahead
        else Text("It is at the front of its queue.")
        if stuck
        else Text("It is the next one.")
    )
    # How long it takes to come to the front is what the one in front has waited.
    left = Queue(job.queue, session).latency - job.latency
    if stuck or ahead == 0 or left <= 0:
        return Reason("position", text)
    at = clock.now() + left
    text = Text("%(place)s At the current rate it should start %(at)s.", place=text, at=when(at))
    return Reason("position", text, at=at)


def _attempt(entry: SortedEntry) -> Reason:
    failures = (entry.retry_count or 0) + 1
    most = entry["retry"]
    attempt = (
        Text("%(attempt)s of %(most)s", attempt=failures + 1, most=min(most, 10**9) + 1)
        if type(most) is int
        else str(failures + 1)
    )
    error = shortened(entry.error_class, 200)
    if error:
        failed = Text.counted(
            "It has failed once with %(error)s.",
            "It has failed %(count)s times with %(error)s.",
            failures,
            error=error,
        )
    else:
        failed = Text.counted("It has failed once.", "It has failed %(count)s times.", failures)
    text = Text(
        "%(failed)s Attempt %(attempt)s is due %(at)s.",
        failed=failed,
        attempt=attempt,
        at=when(entry.score),
    )
    return Reason("retry", text, Text("Fix the cause, then retry it now."), entry.score)


def _lateness(session: Session, entry: SortedEntry) -> Reason:
    processes = ProcessSet(session).all()
    at = when(entry.score)
    if not processes:
        text = Text(
            "It was due %(at)s, but no process runs that would put it into its queue.", at=at
        )
        return Reason("late", text, Text("Start one: jobd start."), entry.score, blocks=True)
    if not any(process.is_jobd for process in processes):
        text = Text(
            "It was due %(at)s, but no process has put it into its queue. Either very many jobs "
            "are due at once, or the pollers of the Sidekiqs here are stuck.",
            at=at,
        )
        advice = Text("Look at the logs of the Sidekiqs, or add it to its queue by hand.")
        return Reason("late", text, advice, entry.score)
    text = Text(
        "It was due %(at)s, but no process has put it into its queue. Either very many jobs are "
        "due at once, or no jobd here has a keeper.",
        at=at,
    )
    advice = Text("Look at jobctl status, or add it to its queue by hand.")
    return Reason("late", text, advice, entry.score)


def _death(session: Session, entry: SortedEntry) -> Reason:
    deleted = entry.score + session.dead_timeout
    text = Text(
        "%(how)s It will not run again automatically. It will be deleted %(at)s.",
        how=_cause_of_death(entry),
        at=when(deleted),
    )
    return Reason("dead", text, Text("Fix the cause, then retry it."), deleted, blocks=True)


def _cause_of_death(entry: SortedEntry) -> Text:
    """As far as its payload tells."""
    crashes, window = entry["crashes"], entry["retry_for"]
    if entry.error_class.endswith("PoisonPill") and type(crashes) is int:
        return Text.counted(
            "It is dead: %(count)s process died while it was running.",
            "It is dead: %(count)s processes died while it was running.",
            min(crashes, 10**9),
        )
    if not entry.failed:
        return Text("It is dead: a user killed it.")
    if type(window) is int or type(window) is float:
        if entry.score - (entry.failed_at or 0) < window:
            return Text("It is dead: it was killed while it still had time for more attempts.")
        return Text("It is dead: the time for its attempts was over.")
    failures, most = (entry.retry_count or 0) + 1, entry["retry"]
    usual = type(most) is not int
    allowed = most if type(most) is int else Config().max_retries
    if failures > allowed:
        return Text.counted(
            "It is dead: its only attempt failed.",
            "It is dead: all of its %(count)s attempts failed.",
            failures,
        )
    if usual:  # for which a daemon can have another number
        return Text.counted(
            "It is dead: it was killed after %(count)s attempt, or max_retries allowed no more.",
            "It is dead: it was killed after %(count)s attempts, or max_retries allowed no more.",
            failures,
        )
    return Text.counted(
        "It is dead: it was killed after %(count)s attempt of %(most)s.",
        "It is dead: it was killed after %(count)s attempts of %(most)s.",
        failures,
        most=min(allowed, 10**9) + 1,
    )


def _attached(job: JobRecord) -> list[Reason]:
    """What hangs on it."""
    return [
        Reason(note.kind, note.text, note.advice, note.at, blocks=note.kind in _IN_THE_WAY)
        for note in notes(job)
    ]


def _blocking_first(reasons: list[Reason]) -> list[Reason]:
    return sorted(reasons, key=lambda one: (one.kind not in _IN_THE_WAY, not one.blocks))


def _belonging(job: JobRecord) -> list[Reason]:
    """What it is part of, also when it waits no more."""
    return [replace(one, advice="") for one in _attached(job) if one.kind in _WHOLES]


def _process(session: Session, identity: str) -> Process | None:
    try:
        return ProcessSet(session)[identity] if identity else None
    except KeyError:
        return None
