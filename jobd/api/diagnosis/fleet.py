"""The checks of the fleet: processes, keepers, leases, queues, what is late.

Everything is read as the dashboard reads it: in bounded steps, O(processes + queues).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobd.ambient import clock
from jobd.api import troubles
from jobd.api.diagnosis.findings import Check, Said, Severity
from jobd.api.inflight import UNCOUNTED, leases, uncounted
from jobd.api.processes import Process, ProcessSet
from jobd.api.queues.queues import QueueSummary, summaries
from jobd.api.reading import answers, number
from jobd.api.reasons import LATE, SILENT
from jobd.api.session import Session
from jobd.store.inflight import LEASE
from jobd.text.counting import counted
from jobd.text.printable import shortened

MOST = 5_000
"""Processes and queues that are looked at."""

APART = 2.0
"""Seconds by which a clock may be off."""

RUNNING_OUT = LEASE / 2
"""Seconds of a lease left: by then it should have been renewed twice."""

BEAT_TTL = 60
"""Seconds for which Redis keeps a heartbeat, of jobd and of Sidekiq."""

_NAMED = 5
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Fleet:
    """What Redis knows of all hosts at one moment.

    Attributes:
        now: the server's time, seconds since 1970.
        here: this host's time at the same moment.
        keepers: versions, by HOST:PID of the masters.
        offsets: by how many seconds the clock of each process is ahead of the server's, by
            identity.
        leases: owners of jobs in flight, and how many seconds their leases still run.
        uncounted: seconds for which nobody has counted the leases; while it is so none ends.
        due: by the name of a set, how many seconds ago its first job was due.
    """

    now: float
    here: float
    processes: list[Process]
    queues: list[QueueSummary]
    keepers: dict[str, str]
    offsets: dict[str, float]
    leases: list[tuple[str, float]]
    uncounted: float
    due: dict[str, float]
    troubles: list[troubles.Trouble]


def gather(session: Session) -> Fleet:
    """Read it.

    Raises:
        UnavailableError: the server does not answer, or refuses.
    """
    processes = ProcessSet(session).all(MOST)
    began = clock.now()
    seconds, micros = _time(session)
    now, here = seconds + micros / 1e6, (began + clock.now()) / 2
    return Fleet(
        now,
        here,
        processes,
        summaries(session, MOST),
        troubles.keepers(session),
        _offsets(session, processes),
        leases(session),
        uncounted(session),
        _due(session, now),
        troubles.troubles(session),
    )


def _time(session: Session) -> tuple[int, int]:
    seconds, micros = session.redis.time()
    return int(seconds), int(micros)


def _offsets(session: Session, processes: list[Process]) -> dict[str, float]:
    """A heartbeat has the process's time in it, and Redis knows when it came."""
    found = {}
    for at in range(0, len(processes), 500):
        some = processes[at : at + 500]
        with session.redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for process in some:
                pipe.ttl(session.keys.process(process.identity))
            (seconds, micros), *left = answers(pipe)
        for process, ttl in zip(some, left, strict=True):
            if ttl is not None and 0 <= ttl <= BEAT_TTL and process.beat:
                came = seconds + micros / 1e6 - (BEAT_TTL - ttl)
                found[process.identity] = process.beat - came
    return found


def _due(session: Session, now: float) -> dict[str, float]:
    keys = session.keys
    with session.redis.pipeline(transaction=False) as pipe:
        for key in (keys.schedule, keys.retry):
            pipe.zrange(key, 0, 0, withscores=True)
        first = answers(pipe)
    return {
        name: now - number(entries[0][1])
        for name, entries in zip(("schedule", "retry"), first, strict=True)
        if entries
    }


def _nobody(fleet: Fleet) -> Iterator[Said]:
    if fleet.processes:
        return
    advice = (
        "start a daemon: jobd start, or systemctl start jobd; if one runs, compare its `redis` and "
        "`prefix` with these"
    )
    if waiting := sum(queue.size for queue in fleet.queues):
        yield Said(
            f"{counted(waiting, 'job waits', 'jobs wait')}, and no process has sent a heartbeat "
            "in the last minute.",
            advice,
        )
    if fleet.leases and fleet.uncounted > UNCOUNTED:
        yield Said(
            f"Nobody takes back the jobs that {_listed(owner for owner, _ in fleet.leases)} had "
            f"when it ended: no daemon has run for {fleet.uncounted:.0f} s.",
            advice,
        )


def _unserved(fleet: Fleet) -> Iterator[Said]:
    served = {name for one in fleet.processes if not one.stopping for name in one.queues}
    for queue in _largest(fleet.queues):
        if queue.size and not queue.paused and fleet.processes and queue.name not in served:
            yield Said(
                f"Queue {_short(queue.name)} has {counted(queue.size, 'job')}, and no "
                "running process serves it.",
                f"add it to `queues` of a daemon; or: jobctl queues move {_short(queue.name)} "
                "OTHER",
            )


def _paused(fleet: Fleet) -> Iterator[Said]:
    for queue in _largest(fleet.queues):
        if queue.paused and queue.size:
            yield Said(
                f"Queue {_short(queue.name)} is paused, and "
                f"{counted(queue.size, 'job waits', 'jobs wait')} in it.",
                f"jobctl queues resume {_short(queue.name)}",
            )


def _versions(fleet: Fleet) -> Iterator[Said]:
    found = Counter(one.version for one in fleet.processes if one.is_jobd)
    # A keeper lives as long as its master; workers may be newer, after a reload.
    found.update(fleet.keepers.values())
    if len(found) > 1:
        named = ", ".join(f"{version} ({count})" for version, count in found.most_common(_NAMED))
        yield Said(
            f"Processes of different versions of jobd run: {named}.",
            "jobctl processes ls shows where; restart those that the deploy has left out "
            "(systemctl restart jobd: a reload keeps the master)",
        )


def _quiet(fleet: Fleet) -> Iterator[Said]:
    quiet = [one.identity for one in fleet.processes if one.stopping]
    if quiet and len(quiet) == len(fleet.processes):
        yield Said(
            f"All processes are quiet and take no jobs ({_listed(quiet)}).",
            "jobctl resume on their hosts",
        )


def _clocks(fleet: Fleet) -> Iterator[Said]:
    hosts: dict[str, float] = {}
    for one in fleet.processes:
        offset = fleet.offsets.get(one.identity, 0.0)
        if abs(offset) > max(APART, abs(hosts.get(one.hostname, 0.0))):
            hosts[one.hostname] = offset
    for host, offset in sorted(hosts.items())[:_NAMED]:
        yield Said(
            f"The clock of {_short(host)} is {_off(offset)} Redis's: jobs are scheduled and "
            "retried at the wrong time.",
            "synchronize the clocks: timedatectl set-ntp true",
        )


def _own_clock(fleet: Fleet) -> Iterator[Said]:
    offset = fleet.here - fleet.now
    if abs(offset) > APART:
        yield Said(
            f"The clock of this host is {_off(offset)} Redis's.",
            "synchronize the clocks: timedatectl set-ntp true",
        )


def _keepers(fleet: Fleet) -> Iterator[Said]:
    kept = {daemon.rpartition(":")[0] for daemon in fleet.keepers}
    hosts = sorted({one.hostname for one in fleet.processes if one.is_jobd} - kept)
    if hosts:
        yield Said(
            f"No keeper lives on {_listed(hosts)}: jobs of workers that die there come back late"
            + ("." if kept else ", and no retry and no scheduled job is pushed."),
            "jobctl status on that host shows why its keeper does not run",
        )


def _silent(fleet: Fleet) -> Iterator[Said]:
    for one in fleet.processes:
        # By the server's clock, so that a clock that is off is one finding and not two.
        age = fleet.now - one.beat + fleet.offsets.get(one.identity, 0.0)
        if age > SILENT:
            yield Said(
                f"{_short(one.identity)} has sent no heartbeat for {age:.0f} s.",
                "on its host: jobctl status, jobctl threads",
            )
            return


def _leases(fleet: Fleet) -> Iterator[Said]:
    ending = [(owner, left) for owner, left in fleet.leases if left < RUNNING_OUT]
    for owner, left in ending[:_NAMED]:
        when = (
            f"ends in {left:.0f} s" if left > 0 else "has ended, and its jobs are being recovered"
        )
        yield Said(
            f"The lease of {_short(owner)} is not renewed; it {when}.",
            "nothing, if that process was killed: its jobs go back to their queues; else look "
            "into its log",
        )


def _late(fleet: Fleet) -> Iterator[Said]:
    for name, ago in fleet.due.items():
        if ago > LATE:
            yield Said(
                f"Jobs in {name} have been due for {ago:.0f} s, and no keeper has pushed them.",
                "check that a daemon runs that is not quiet (jobctl status), and its log for "
                "redis_unavailable",
            )


def _troubles(fleet: Fleet) -> Iterator[Said]:
    for trouble in fleet.troubles[:_NAMED]:
        tag = f" [{_short(trouble.tag)}]" if trouble.tag else ""
        yield Said(
            f"{_short(trouble.daemon)}{tag}: {shortened(trouble.text, 500)}.",
            "on that host: jobctl status",
        )


def _largest(queues: list[QueueSummary]) -> list[QueueSummary]:
    return sorted(queues, key=lambda queue: -queue.size)[:MOST]


def _off(offset: float) -> str:
    return f"{abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'}"


def _listed(names: Iterable[str]) -> str:
    known = [_short(name) for name in names]
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return ", ".join(known[:_NAMED]) + more


def _short(text: str) -> str:
    return shortened(text, _LONGEST)


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

CHECKS: tuple[Check[Fleet], ...] = (
    Check(
        "fleet.processes",
        _ERROR,
        "whether anybody takes the jobs that wait, and takes back those of dead processes",
        _nobody,
    ),
    Check("fleet.queues", _ERROR, "queues with jobs that nobody serves", _unserved),
    Check("fleet.paused", _WARNING, "paused queues with jobs", _paused),
    Check("fleet.quiet", _WARNING, "whether all processes are quiet", _quiet),
    Check("fleet.late", _ERROR, "scheduled jobs and retries that are overdue", _late),
    Check("fleet.versions", _WARNING, "versions of jobd", _versions),
    Check("fleet.clocks", _WARNING, f"clocks of hosts, {APART:g} s apart", _clocks),
    Check("fleet.own-clock", _WARNING, "the clock of this host", _own_clock),
    Check("fleet.keepers", _WARNING, "hosts without a keeper", _keepers),
    Check("fleet.heartbeats", _WARNING, f"heartbeats, {SILENT:g} s old", _silent),
    Check("fleet.leases", _WARNING, f"leases, {RUNNING_OUT:g} s before their end", _leases),
    Check("fleet.troubles", _ERROR, "crash loops, failed reloads, lost log records", _troubles),
)
