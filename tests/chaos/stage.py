"""The stage: a server, several daemons, and the hand that breaks them.

One thread does everything: it injects the faults, and later undoes those that last (what was
stopped goes on, what was killed is started again).
"""

from __future__ import annotations

import heapq
import itertools
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

import redis as redis_py

from jobd.testing import EmbeddedServer
from tests import processes
from tests.chaos.history import CLOCK
from tests.chaos.plan import Fault, Kind
from tests.integration.daemon import Daemon

QUEUES = ("-q", "high,3", "-q", "default,2", "-q", "low,1")


@dataclass(slots=True)
class Injury:
    """What was done to a process: *kind*, from *began* to *ended* (monotonic s; a kill has no
    end)."""

    kind: Kind
    began: float
    ended: float = float("inf")


@dataclass(slots=True)
class Record:
    """Everything that was done.

    Attributes:
        faults: how often each kind happened.
        killed: processes that got a SIGKILL, by what they were.
        injuries: by process id.
        ticks: when each tick of the clock in the data was surely over (monotonic s).
    """

    faults: Counter[Kind] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    injuries: dict[int, list[Injury]] = field(default_factory=dict)
    ticks: list[tuple[int, float]] = field(default_factory=list)


class Stage:
    """A server and *masters* daemons of *workers* workers each, in a directory of their own."""

    def __init__(self, masters: int, workers: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="jobd-chaos-"))
        self.journal = self.directory / "journal"
        self.journal.mkdir()
        # A server that syncs once a second may by design forget the last one when it is killed;
        # here each answer is to be a promise. And the file is read in the end, so it must hold
        # everything from the beginning.
        self.server = EmbeddedServer(
            options={"appendfsync": "always", "auto-aof-rewrite-percentage": "0"}
        ).start()
        self.redis = redis_py.Redis.from_url(self.server.url, protocol=2, socket_timeout=5)
        self.record = Record()
        self._workers = workers
        self._daemons = [self._daemon(number) for number in range(masters)]
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._awaited: list[Daemon] = []  # to be started by a fault that is not over
        self._server_down = False
        self._tick = itertools.count(1)
        self._next_tick = 0.0
        for daemon in self._daemons:
            self._run(daemon)

    def _daemon(self, number: int) -> Daemon:
        directory = self.directory / f"daemon{number}"
        directory.mkdir()
        daemon = Daemon(directory, self.server.url)
        daemon.leaves_files = True
        return daemon

    def _run(self, daemon: Daemon) -> None:
        daemon.run(
            *("-w", str(self._workers), "-c", "4", "-t", "2", "--log-level", "info", *QUEUES),
            require="tests.chaos.app",
            env={"CHAOS_JOURNAL": str(self.journal)},
        )

    # Time

    def play(self, until: float) -> None:
        """Let time pass until *until* (monotonic s), undoing faults that are over."""
        while (now := time.monotonic()) < until:
            self._mark(now)
            while self._later and self._later[0][0] <= now:
                heapq.heappop(self._later)[2]()
            self._tend()
            time.sleep(max(0.0, min(0.02, until - now)))

    def undo_all(self) -> None:
        """Wait until every fault that lasts is over."""
        while self._later:
            self.play(time.monotonic() + 0.1)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), action))

    def _mark(self, now: float) -> None:
        """Let the clock in the data tick."""
        if now < self._next_tick or self._server_down:
            return
        self._next_tick = now + 0.05
        tick = next(self._tick)
        try:
            self.redis.set(CLOCK, tick)
        except redis_py.RedisError:
            return
        self.record.ticks.append((tick, time.monotonic()))

    def _tend(self) -> None:
        """Start masters that ended; they are started at once unless a fault says when."""
        own = [daemon.pid for daemon in self._daemons]
        processes.reap(own=[*own, self.server.pid or 0])
        for daemon in self._daemons:
            if not daemon.alive() and daemon not in self._awaited:
                self._run(daemon)

    # Faults

    def inject(self, fault: Fault) -> None:
        """Do it; undoing it follows by itself."""
        kind = fault.kind
        if kind in (Kind.SERVER_KILL, Kind.SERVER_SHUTDOWN, Kind.SERVER_STOP):
            done = self._break_server(fault)
        elif kind in (Kind.CONNECTION_KILL, Kind.ALL_CONNECTIONS_KILL):
            done = self._break_connections(fault)
        elif kind in (Kind.WORKER_KILL, Kind.WORKER_STOP, Kind.KEEPER_KILL, Kind.KEEPER_STOP):
            done = self._break_child(fault)
        else:
            done = self._break_master(fault)
        if done:
            self.record.faults[kind] += 1

    def _break_child(self, fault: Fault) -> bool:
        keepers = fault.kind in (Kind.KEEPER_KILL, Kind.KEEPER_STOP)
        pids = [pid for daemon in self._daemons for pid in _children(daemon, keepers=keepers)]
        if not pids:
            return False
        pid = pids[int(fault.victim * len(pids))]
        if fault.kind in (Kind.WORKER_KILL, Kind.KEEPER_KILL):
            self._kill(pid, fault.kind, "keepers" if keepers else "workers")
        else:
            self._stop([pid], fault)
        return True

    def _break_master(self, fault: Fault) -> bool:
        living = [daemon for daemon in self._daemons if daemon.alive()]
        if not living:
            return False
        daemon = living[int(fault.victim * len(living))]
        children = [child.pid for child in daemon.children()]
        if fault.kind is Kind.MASTER_STOP:
            self._stop([daemon.pid], fault)
            return True
        if fault.kind is Kind.DAEMON_STOP:
            self._stop([daemon.pid, *children], fault)
            return True
        if fault.kind is Kind.DAEMON_KILL:
            # Stopped first, so that none sees another die.
            for pid in (daemon.pid, *children):
                _send(pid, signal.SIGSTOP)
            keeper = _children(daemon, keepers=True)
            for pid in children:
                self._kill(pid, fault.kind, "keepers" if pid in keeper else "workers")
        for pid in children:
            self._injure(pid, fault.kind)
        if fault.kind is Kind.MASTER_HUP:
            return _send(daemon.pid, signal.SIGHUP)
        if fault.kind is Kind.MASTER_TERM:
            _send(daemon.pid, signal.SIGTERM)
        else:
            self._kill(daemon.pid, fault.kind, "masters")
        self._awaited.append(daemon)
        self._after(fault.seconds, lambda: self._awaited.remove(daemon))
        return True

    def _break_server(self, fault: Fault) -> bool:
        if self._server_down:
            return False
        self._server_down = True
        if fault.kind is Kind.SERVER_STOP:
            self.server.send(signal.SIGSTOP)
            self._after(fault.seconds, self._server_goes_on)
            return True
        if fault.kind is Kind.SERVER_KILL:
            self.server.kill()
            self.record.killed["servers"] += 1
        else:
            self.server.stop()
        self._after(fault.seconds, self._server_starts)
        return True

    def _server_goes_on(self) -> None:
        self.server.send(signal.SIGCONT)
        self._server_down = False

    def _server_starts(self) -> None:
        self.server.start()
        self._server_down = False

    def _break_connections(self, fault: Fault) -> bool:
        if self._server_down:
            return False
        try:
            if fault.kind is Kind.ALL_CONNECTIONS_KILL:
                self.redis.client_kill_filter(_type="normal", skipme=True)
                return True
            ids = sorted(int(client["id"]) for client in self.redis.client_list())
            self.redis.client_kill_filter(_id=str(ids[int(fault.victim * len(ids))]), skipme=True)
        except redis_py.RedisError:
            return False
        return True

    def _kill(self, pid: int, kind: Kind, what: str) -> None:
        self._injure(pid, kind)
        if _send(pid, signal.SIGKILL):
            self.record.killed[what] += 1

    def _stop(self, pids: list[int], fault: Fault) -> None:
        injuries = [self._injure(pid, fault.kind) for pid in pids if _send(pid, signal.SIGSTOP)]

        def go_on() -> None:
            for pid, injury in zip(pids, injuries, strict=False):
                injury.ended = time.monotonic()
                _send(pid, signal.SIGCONT)

        self._after(fault.seconds, go_on)

    def _injure(self, pid: int, kind: Kind) -> Injury:
        injury = Injury(kind, time.monotonic())
        self.record.injuries.setdefault(pid, []).append(injury)
        return injury

    # Looking

    def counts(self) -> str:
        """The jobs in Redis, for the live line."""
        try:
            pipeline = self.redis.pipeline(transaction=False)
            pipeline.get("stat:processed")
            for queue in ("high", "default", "low"):
                pipeline.llen(f"queue:{queue}")
            for key in ("schedule", "retry", "dead"):
                pipeline.zcard(key)
            done, *lengths, schedule, retry, dead = pipeline.execute()
        except redis_py.RedisError:
            return "server away"
        return (
            f"processed {int(done or 0)}, queued {sum(lengths)}, scheduled {schedule}, "
            f"to retry {retry}, dead {dead}"
        )

    def left(self) -> list[str]:
        """Keys that hold jobs which are not at their end."""
        try:
            keys = [str(key, "utf-8") for key in self.redis.scan_iter(count=1000)]
        except redis_py.RedisError:
            return ["?"]
        unfinished = ("queue:", "jobd:inflight:", "jobd:claim:", "schedule", "retry")
        return [key for key in keys if key.startswith(unfinished)]

    def owners_of_the_dead(self) -> bool:
        """Whether there are owners of jobs, so listed, beyond the workers that live."""
        living = sum(len(_children(daemon, keepers=False)) for daemon in self._daemons)
        return int(self.redis.zcard("jobd:owners")) > living

    # The end

    def end(self) -> list[str]:
        """Stop the daemons well; returns what is wrong with how they ended, or with their logs."""
        trouble = []
        for daemon in self._daemons:
            try:
                daemon.wait_ready(30)
                daemon.stop(30)
                if daemon.returncode != 0:
                    trouble.append(f"{daemon.directory.name} ended with {daemon.returncode}")
            except AssertionError as error:
                trouble.append(f"{daemon.directory.name}: {error}"[:4000])
            if tracebacks := daemon.unexpected():
                trouble.append(f"{daemon.directory.name} logged:\n{tracebacks[:4000]}")
        keys = [str(key, "utf-8") for key in self.redis.scan_iter(match="jobd:*", count=1000)]
        if keys:
            trouble.append(f"keys left behind by the daemons: {keys[:10]} ({len(keys)} in all)")
        return trouble

    def close(self, *, keep: bool) -> None:
        """End everything; *keep* leaves the files for a look at them."""
        for daemon in self._daemons:
            for process in daemon.children():
                _send(process.pid, signal.SIGKILL)
            if daemon.alive():
                _send(daemon.pid, signal.SIGKILL)
        self.redis.close()
        if keep:
            shutil.copytree(
                self.server.directory / "appendonlydir",
                self.directory / "appendonlydir",
                dirs_exist_ok=True,
            )
        self.server.remove()
        processes.end_all()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)


def _children(daemon: Daemon, *, keepers: bool) -> list[int]:
    """Process ids of living children: the state file knows the keeper, the others are workers."""
    if not daemon.alive():
        return []
    keeper = (daemon.state().get("keeper") or {}).get("pid")
    return [child.pid for child in daemon.children() if (child.pid == keeper) == keepers]


def _send(pid: int, number: Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
