"""Whether everything went as promised: history, journal and faults held against each other.

- A job that Redis took is known to the history, and there never was a step after which it was in
  two places, or back after its end (:mod:`tests.chaos.history`).
- At the end it is nowhere in Redis, having been executed, or in the dead set. Otherwise it is lost.
- It was not executed in a process more often than that process had claimed it.
- An execution that follows another one of the same job, and not because that one failed, is a
  duplicate. It needs a reason: after the first one began, and before the second one did, its
  process was killed, or its master was, or told to stop or to restart its workers (which cuts
  long jobs short), or it was stopped for longer than its lease.
- No execution begins after the job has ended, unless its process was stopped meanwhile.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.chaos.history import History
from tests.chaos.journal import Execution
from tests.chaos.plan import Kind
from tests.chaos.stage import Injury, Record

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
) -> Verdict:
    """Hold all that is known against each other."""
    verdict = Verdict(jobs=len(history.lives), wrong=list(history.faults))
    verdict.lost += [
        f"{jid}: stored, but not in the history" for jid in stored if jid not in history.lives
    ]
    for jid, life in history.lives.items():
        executions = journal.get(jid, [])
        verdict.executions += len(executions)
        if life.places == [b"dead"] and executions:
            verdict.dead += 1
        elif life.places:
            verdict.lost.append(f"{jid}: left in {life.places}, executed {len(executions)} times")
        elif not any(execution.outcome for execution in executions):
            verdict.lost.append(f"{jid}: gone, and never executed to its end")
        else:
            verdict.executed += 1
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
        lost_lease = injury.kind is Kind.DAEMON_STOP and injury.ended - injury.began > LEASE
        if (ends or lost_lease) and after <= injury.ended and injury.began <= before:
            return injury
    return None


def _stopped(record: Record, pid: int) -> bool:
    return any(injury.kind is Kind.DAEMON_STOP for injury in record.injuries.get(pid, []))


def _time_of(tick: int | None, record: Record) -> float:
    """When what happened after *tick*, and before the next one, was surely over."""
    if tick is None:
        return float("inf")
    at = bisect.bisect_right(record.ticks, (tick, float("inf")))
    return record.ticks[at][1] if at < len(record.ticks) else float("inf")
