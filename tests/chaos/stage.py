"""The stage: a server, several daemons, and the hand that breaks them.

One thread does everything: it injects the faults, and later undoes those that last (what was
stopped goes on, what was killed is started again).
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from signal import Signals

import psutil
import redis as redis_py

from tests import processes
from tests.chaos import journal, server
from tests.chaos.history import CLOCK
from tests.chaos.plan import Fault, Kind
from tests.chaos.pushes import token
from tests.chaos.server import Server
from tests.integration.daemon import Daemon

QUEUES = ("-q", "high,3", "-q", "default,2", "-q", "low,1")

NOTICED = 15.0
"""Seconds until all of a daemon has noticed that its network is back."""

_WITNESS = 999
"""Number of the producer of witnesses."""

WITNESSES = 6
"""Jobs that run while an ordeal lasts, and a little longer."""

AT_WORK = 10.0
"""Seconds for all to be at work before an ordeal, and for what jobs have started to end."""


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
        gave_up: starts that failed, because too much was killed for a minute.
    """

    faults: Counter[Kind] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    injuries: dict[int, list[Injury]] = field(default_factory=dict)
    ticks: list[tuple[int, float]] = field(default_factory=list)
    gave_up: int = 0


class Stage:
    """A server and *masters* daemons of *workers* workers each, in a directory of their own."""

    def __init__(self, masters: int, workers: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="jobd-chaos-"))
        self.journal = self.directory / "journal"
        self.journal.mkdir()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.server = Server(self.directory, self._after)
        self.redis = redis_py.Redis.from_url(self.server.url, protocol=2, socket_timeout=5)
        self.record = Record()
        self._workers = workers
        self._daemons = [self._daemon(number) for number in range(masters)]
        self._frozen: Daemon | None = None  # left alone, so that it is what wakes up again
        self._awaited: list[Daemon] = []  # to be started by a fault that is not over
        self._witness = itertools.count()
        self._tick = itertools.count(1)
        self._next_tick = 0.0
        for daemon in self._daemons:
            self._run(daemon)

    def _daemon(self, number: int) -> Daemon:
        directory = self.directory / f"daemon{number}"
        directory.mkdir()
        # The first one has a network between the server and itself.
        daemon = Daemon(directory, self.server.url if number else self.server.network.url)
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

    def _play_while(self, condition: Callable[[], object], most: float) -> None:
        give_up = time.monotonic() + most
        while condition() and time.monotonic() < give_up:
            self.play(time.monotonic() + 0.05)

    def play_until_progress(self, most: float) -> None:
        """Let time pass until another job has been done, at most *most* seconds."""
        before = self._processed()
        self._play_while(lambda: self._processed() <= before, most)

    def _processed(self) -> int:
        if self.server.down:
            return 0
        try:
            return int(self.redis.get("stat:processed") or 0)
        except redis_py.RedisError:
            return 0

    def undo_all(self) -> None:
        """Wait until every fault that lasts is over."""
        while self._later:
            self.play(time.monotonic() + 0.1)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), action))

    def _mark(self, now: float) -> None:
        """Let the clock in the data tick."""
        if now < self._next_tick or self.server.down:
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
                self._note_giving_up(daemon)
                self._run(daemon)

    def _note_giving_up(self, daemon: Daemon) -> None:
        """A start that took too long ends the daemon, and the jobs of workers that were ready."""
        own = [line for line in daemon.records() if line["pid"] == daemon.pid]
        offset = time.time() - time.monotonic()
        for line in own:
            if line["event"] == "start_failed":
                self.record.gave_up += 1
                at = datetime.fromisoformat(line["timestamp"]).timestamp() - offset
                for forked in own:
                    if forked["event"] == "child_forked":
                        injury = self._injure(forked["child_pid"], Kind.MASTER_TERM)
                        injury.began = at

    # Faults

    def inject(self, fault: Fault) -> None:
        """Do it; undoing it follows by itself."""
        kind = fault.kind
        if kind in server.KINDS:
            done = self.server.suffer(fault)
        elif kind in (Kind.NETWORK_CUT, Kind.LONG_NETWORK_CUT):
            done = self._break_network(fault)
        elif kind in (Kind.CONNECTION_KILL, Kind.ALL_CONNECTIONS_KILL):
            done = self._break_connections(fault)
        elif kind in (Kind.WORKER_KILL, Kind.WORKER_STOP, Kind.KEEPER_KILL, Kind.KEEPER_STOP):
            done = self._break_child(fault)
        else:
            done = self._break_master(fault)
        if done:
            self.record.faults[kind] += 1

    def undergo(self, ordeal: Fault) -> None:
        """Inject it while jobs run that outlast it, and let time pass until it is over."""
        self._play_while(lambda: self.server.down or not self._all_run(), AT_WORK)
        witnesses = self._push_witnesses(ordeal.seconds + 2)
        self._play_while(lambda: witnesses - journal.read(self.journal).keys(), AT_WORK)
        self.inject(ordeal)
        self.play(time.monotonic() + ordeal.seconds + ordeal.pause)

    def _all_run(self) -> bool:
        """Whether every daemon has started: one that cannot gives up, and ends what it has."""
        states = [(daemon, daemon.state()) for daemon in self._daemons]
        return all(
            state.get("pid") == daemon.pid and state.get("state") == "running"
            for daemon, state in states
        )

    def _push_witnesses(self, seconds: float) -> set[str]:
        """They are the next to run."""
        found = {token(_WITNESS, next(self._witness)) for _ in range(WITNESSES)}
        jobs = [{"class": "work", "args": [int(seconds * 1000)], "jid": jid} for jid in found]
        self.redis.ping()  # what kills connections has killed this one: a push is not tried again
        self.redis.rpush("queue:high", *map(json.dumps, jobs))
        return found

    def _break_child(self, fault: Fault) -> bool:
        keepers = fault.kind in (Kind.KEEPER_KILL, Kind.KEEPER_STOP)
        pids = [pid for daemon in self._moving() for pid in _children(daemon, keepers=keepers)]
        if not pids:
            return False
        pid = pids[int(fault.victim * len(pids))]
        if fault.kind in (Kind.WORKER_KILL, Kind.KEEPER_KILL):
            self._kill(pid, fault.kind, "keepers" if keepers else "workers")
        else:
            self._stop([pid], fault)
        return True

    def _break_master(self, fault: Fault) -> bool:
        living = self._moving()
        frozen = fault.kind is Kind.DAEMON_STOP and self._frozen is not None
        if not living or frozen:
            return False
        daemon = living[int(fault.victim * len(living))]
        if fault.kind is Kind.MASTER_STOP:
            self._stop([daemon.pid], fault)
            return True
        family = _family(daemon)
        if fault.kind is Kind.DAEMON_STOP:
            self._stop([daemon.pid, *family], fault)
            self._frozen = daemon
            self._after(fault.seconds, self._thaw)
            return True
        for pid in family:
            self._injure(pid, fault.kind)
        if fault.kind is Kind.DAEMON_KILL:
            self._kill_family(daemon, family)
        if fault.kind is Kind.MASTER_HUP:
            return _send(daemon.pid, signal.SIGHUP)
        if fault.kind is Kind.MASTER_TERM:
            _send(daemon.pid, signal.SIGTERM)
        else:
            self._kill(daemon.pid, fault.kind, "masters")
        self._awaited.append(daemon)
        self._after(fault.seconds, lambda: self._awaited.remove(daemon))
        return True

    def _kill_family(self, daemon: Daemon, family: list[int]) -> None:
        """All but the master."""
        workers, keepers = (_children(daemon, keepers=keepers) for keepers in (False, True))
        # Stopped first, so that none sees another die.
        for pid in (daemon.pid, *family):
            _send(pid, signal.SIGSTOP)
        for pid in family:
            if _send(pid, signal.SIGKILL) and pid in (*workers, *keepers):
                self.record.killed["keepers" if pid in keepers else "workers"] += 1

    def _thaw(self) -> None:
        self._frozen = None

    def _moving(self) -> list[Daemon]:
        return [daemon for daemon in self._daemons if daemon.alive() and daemon != self._frozen]

    def _break_network(self, fault: Fault) -> bool:
        """Cut the first daemon off."""
        if self.server.network.dark or (fault.kind is Kind.LONG_NETWORK_CUT and self._frozen):
            return False
        daemon = self._daemons[0]
        injuries = [self._injure(pid, fault.kind) for pid in daemon.workers()]
        self.server.go_dark()
        if fault.kind is Kind.LONG_NETWORK_CUT:
            self._frozen = daemon

        def light_up() -> None:
            self.server.light_up()
            for injury in injuries:
                injury.ended = time.monotonic() + NOTICED
            if self._frozen is daemon:
                self._thaw()

        self._after(fault.seconds, light_up)
        return True

    def _break_connections(self, fault: Fault) -> bool:
        if self.server.down:
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
        left = {str(key, "utf-8") for key in self.redis.scan_iter(match="jobd:*", count=1000)}
        if keys := sorted(left - {"jobd:clock"}):
            trouble.append(f"keys left behind by the daemons: {keys[:10]} ({len(keys)} in all)")
        trouble += [f"a job left {line}, which SIGTERM did not end" for line in self._strays()]
        return trouble

    def _strays(self) -> list[str]:
        """What jobs have started and cannot be ended, a line each."""

        def left() -> list[psutil.Process]:
            processes.reap(own=[self.server.pid or 0])
            return [
                process for process in processes.descendants() if process.pid != self.server.pid
            ]

        for process in left():
            _send(process.pid, signal.SIGTERM)
        give_up = time.monotonic() + AT_WORK
        while (found := left()) and time.monotonic() < give_up:
            time.sleep(0.05)
        return [processes.describe(process) for process in found]

    def close(self, *, keep: bool) -> None:
        """End everything; *keep* leaves the files for a look at them."""
        for daemon in self._daemons:
            for pid in _family(daemon):
                _send(pid, signal.SIGKILL)
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
    """Process ids of living workers or keepers. The master has other children, too: what jobs have
    started comes to it when their worker dies."""
    if not daemon.alive():
        return []
    return list(filter(None, [daemon.keeper()])) if keepers else daemon.workers()


def _family(daemon: Daemon) -> list[int]:
    """Process ids of everything below the master."""
    try:
        return [child.pid for child in psutil.Process(daemon.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _send(pid: int, number: Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
