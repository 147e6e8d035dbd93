"""Whether everything went as promised: pushes, notes and Redis held against each other.

- A job that Redis took has ended: it was executed to its end and is nowhere, or it is in the dead
  set, since it was to fail or was running in several processes that died. Otherwise it is lost.
- An execution that follows another one of the same job, and not because that one failed, is a
  duplicate. It needs a reason: its process, or the master of that, was killed or told to stop after
  the first one had begun.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from jobctl.chaos.daemons import Record
from jobctl.chaos.journal import Execution
from jobctl.chaos.plan import Kind, Push

_ENDS = frozenset(Kind) - {Kind.CONNECTIONS_KILL, Kind.WORKER_STOP, Kind.KEEPER_KILL}
"""What may make a job run twice."""


@dataclass(slots=True)
class Verdict:
    """What was found; *recoveries* are seconds from a kill until a job that it hit ran again."""

    jobs: int = 0
    executed: int = 0
    dead: int = 0
    executions: int = 0
    duplicates: Counter[Kind] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.wrong)


def judge(
    pushed: Collection[Push],
    journal: Mapping[str, list[Execution]],
    dead: Mapping[str, bool],
    left: Collection[str],
    record: Record,
) -> Verdict:
    """Hold all that is known against each other.

    Args:
        pushed: jobs that were certainly stored.
        dead: ids of the jobs in the dead set, and whether they are poison pills.
        left: ids of jobs that have not ended.
    """
    verdict = Verdict(jobs=len(pushed))
    for push in pushed:
        executions = journal.get(push.jid, [])
        verdict.executions += len(executions)
        outcomes = {one.outcome for one in executions}
        poisoned = dead.get(push.jid)
        if push.jid in left:
            verdict.lost.append(f"{push.name} {push.jid} has not ended")
        elif poisoned is not None:
            verdict.dead += 1
            if not poisoned and push.name != "doomed":
                verdict.wrong.append(f"{push.name} {push.jid} is dead, and was not to fail")
        elif push.name == "doomed":
            verdict.lost.append(f"{push.name} {push.jid} is nowhere, and not in the dead set")
        elif "done" not in outcomes:
            verdict.lost.append(f"{push.name} {push.jid} is nowhere, and was not executed")
        else:
            verdict.executed += 1
        for first, second in itertools.pairwise(executions):
            _judge_pair(verdict, push, first, second, record)
    return verdict


def _judge_pair(
    verdict: Verdict, push: Push, first: Execution, second: Execution, record: Record
) -> None:
    if first.outcome == "failed":
        return
    for at, kind in reversed(record.injuries.get(first.pid, [])):
        if kind in _ENDS and first.began <= at <= second.began:
            verdict.duplicates[kind] += 1
            verdict.recoveries.append(second.began - at)
            return
    verdict.wrong.append(
        f"{push.name} {push.jid} was executed again in {second.pid} after "
        f"{second.began - first.began:.2f} s, and nothing had happened to {first.pid}"
    )
