"""Whether everything went as promised: history, journal and faults held against each other.

- A job that Redis took is known to the history, and there never was a step after which it was in
  two places, or back after its end (:mod:`tests.chaos.history`).
- It ends as it should (:class:`tests.chaos.pushes.Fate`): nowhere in Redis, having been executed to
  its end, or in the dead set, having failed. Otherwise it is lost. The exception is a job that was
  running in several processes that died: the dead set has it as a poison pill.
- Nothing was other than the job has a right to expect.
- It was not executed in a process more often than that process had claimed it.
- An execution that follows another one of the same job, and not because that one failed, is a
  duplicate. It needs a reason: after the first one began, and before the second one did, its
  process was killed, or its master was, or told to stop or to restart its workers (which cuts
  long jobs short), or it was stopped or cut off from the server for longer than its lease. What
  happens to the server itself is no reason.
- No execution begins after the job has ended, unless its process was stopped or cut off meanwhile.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jobctl.chaos.journal import Execution
from tests.chaos.history import History, Life
from tests.chaos.plan import Kind
from tests.chaos.pushes import Fate
from tests.chaos.record import Injury, Record

LEASE = 50.0
"""Seconds. A lease is renewed every ten seconds, so a stop of this length may outlast it."""

# What ends a process, or makes it give back what it has not finished in time.
_ENDS = frozenset(
    {
        Kind.WORKER_KILL,
        Kind.MASTER_KILL,
        Kind.DAEMON_KILL,
        Kind.MASTER_TERM,
        Kind.MASTER_HUP,
    }
)

_CUT_OFF = (Kind.DAEMON_STOP, Kind.LONG_NETWORK_CUT)

_POISON = b"PoisonPill"


@dataclass(slots=True)
class Verdict:
    """What was found; *recoveries* are seconds from a kill to the job running again, by kind."""

    jobs: int = 0
    executed: int = 0
    dead: int = 0
    executions: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    duplicates: Counter[Kind] = field(default_factory=Counter)
    recoveries: dict[Kind, list[float]] = field(default_factory=dict)


def judge(
    history: History,
    journal: dict[str, list[Execution]],
    record: Record,
    stored: Collection[str],
    fates: Mapping[str, Fate] = MappingProxyType({}),
) -> Verdict:
    """Hold all that is known against each other.

    Args:
        stored: jobs that were certainly pushed, by token.
        fates: how jobs are to end, by token; for others :attr:`Fate.DONE`.
    """
    verdict = Verdict(jobs=len(history.lives), wrong=list(history.faults))
    verdict.lost += [
        f"{jid}: stored, but not in the history" for jid in stored if jid not in history.lives
    ]
    for jid, life in history.lives.items():
        executions = journal.get(jid, [])
        verdict.executions += len(executions)
        if problem := _wrong_end(life, executions, fates.get(jid, Fate.DONE)):
            verdict.lost.append(f"{jid}: {problem}; its bytes: {life.raw[:300]!r}")
        elif life.places:
            verdict.dead += 1
        else:
            verdict.executed += 1
        if any(execution.outcome == "wronged" for execution in executions):
            verdict.wrong.append(f"{jid}: found something wrong; its bytes: {life.raw[:300]!r}")
        for pid, times in Counter(execution.pid for execution in executions).items():
            if times > life.claims[pid]:
                verdict.wrong.append(
                    f"{jid}: executed {times} times by {pid}, claimed {life.claims[pid]} times"
                )
        over = _time_of(life.ended, record) if not life.places else float("inf")
        for first, second in itertools.pairwise(executions):
            _judge_pair(verdict, jid, first, second, record)
        for execution in executions:
            if execution.began > over and not _stopped(record, execution.pid):
                verdict.wrong.append(
                    f"{jid}: began in {execution.pid} {execution.began - over:.3f} s after its end"
                )
    unknown = journal.keys() - history.lives.keys()
    verdict.wrong += [f"{jid}: executed, but never in Redis" for jid in unknown]
    return verdict


def _wrong_end(life: Life, executions: list[Execution], fate: Fate) -> str:
    """What is wrong with how a job has ended, or ""."""
    outcomes = {execution.outcome for execution in executions} - {""}
    if life.places not in ([], [b"dead"]):
        return f"left in {life.places}, executed {len(executions)} times"
    if not life.places:
        ended = outcomes - {"failed"} if fate is not Fate.DISCARDED else outcomes
        good = bool(ended or fate is Fate.IN_TIME) and fate not in (Fate.DEAD, Fate.UNREAD)
        if fate in (Fate.CANCELLED, Fate.PATIENT):
            good = not outcomes - {"cancelled"} or (fate is Fate.PATIENT and "done" in outcomes)
    elif fate is Fate.UNREAD:
        good = not executions
    else:
        failed = fate is Fate.DEAD and "failed" in outcomes
        good = failed or fate is Fate.EITHER or _POISON in life.raw
    where = "in the dead set" if life.places else "gone"
    return "" if good else f"{where} after {sorted(outcomes) or 'no execution'}, not {fate.value}"


def _judge_pair(
    verdict: Verdict, jid: str, first: Execution, second: Execution, record: Record
) -> None:
    if first.outcome == "failed":
        return
    injury = _reason(record.injuries.get(first.pid, []), first.began, second.began)
    if injury is None:
        verdict.wrong.append(
            f"{jid}: executed again in {second.pid} {second.began - first.began:.3f} s after it "
            f"began in {first.pid} ({first.outcome or 'no end'}), to which nothing had happened"
        )
        return
    verdict.duplicates[injury.kind] += 1
    verdict.recoveries.setdefault(injury.kind, []).append(second.began - injury.began)


def _reason(injuries: list[Injury], after: float, before: float) -> Injury | None:
    """The last injury in between that explains a second execution."""
    for injury in reversed(injuries):
        ends = injury.kind in _ENDS
        lost_lease = injury.kind in _CUT_OFF and injury.ended - injury.began > LEASE
        if (ends or lost_lease) and after <= injury.ended and injury.began <= before:
            return injury
    return None


def _stopped(record: Record, pid: int) -> bool:
    return any(injury.kind in _CUT_OFF for injury in record.injuries.get(pid, []))


def _time_of(tick: int | None, record: Record) -> float:
    """When what happened after *tick*, and before the next one, was surely over."""
    if tick is None:
        return float("inf")
    at = bisect.bisect_right(record.ticks, (tick, float("inf")))
    return record.ticks[at][1] if at < len(record.ticks) else float("inf")
