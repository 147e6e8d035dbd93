"""The stage: a server and several daemons, which live on while a hand breaks them.

One thread does everything: it lets time pass, injects the faults, and later undoes those that last
(what was stopped goes on, what was killed is started again).
"""

from __future__ import annotations

import heapq
import itertools
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import psutil
import redis as redis_py

from jobctl.chaos import journal
from jobd.api import Api
from jobd.runtime.process.identity import hostname
from tests.chaos.hand import Hand, below, children, send
from tests.chaos.history import CLOCK
from tests.chaos.plan import Fault, Kind
from tests.chaos.pushes import token
from tests.chaos.record import Record
from tests.chaos.server import Server
from tests.support import processes
from tests.support.daemon import Daemon

QUEUES = ("-q", "high,3", "-q", "default,2", "-q", "low,1")

_WITNESS = 999
"""Number of the producer of witnesses."""

WITNESSES = 6
"""Jobs that run while an ordeal lasts, and a little longer."""

AT_WORK = 10.0
"""Seconds for all to be at work before an ordeal, and for what jobs have started to end."""


_ENDED = (b"done", b"failed", b"cancelled")
"""States of the results of jobs that have ended here."""


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
        self._hand = Hand(self.server, self.redis, self._daemons, self.record, self._after)
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
            require="tests.chaos.periodic_app",
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
            if not daemon.alive() and daemon not in self._hand.awaited:
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
                        injury = self._hand.injure(forked["child_pid"], Kind.MASTER_TERM)
                        injury.began = at

    # Faults

    def inject(self, fault: Fault) -> None:
        """Do it; undoing it follows by itself."""
        self._hand.inject(fault)

    def undergo(self, ordeal: Fault) -> None:
        """Inject it while jobs run that outlast it, and let time pass until it is over."""
        self._play_while(lambda: self.server.down or not self._all_run(), AT_WORK)
        witnesses = self._push_witnesses(ordeal.seconds + 2)
        self._play_while(lambda: witnesses - journal.read(self.journal).keys(), AT_WORK)
        self.inject(ordeal)
        self.play(time.monotonic() + ordeal.seconds + ordeal.pause)
        if ordeal.kind is Kind.CLOCK_FORWARD:
            # The next ticks are where the clock has been; a user lets them begin now.
            self.pause_periodic()
            periodic = Api(self.redis).periodic
            for one in periodic:
                periodic.resume(one)

    def pause_periodic(self) -> None:
        """Let no more ticks come."""
        self.redis.ping()  # what kills connections has killed this one
        periodic = Api(self.redis).periodic
        for one in periodic:
            periodic.pause(one)

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
        """Keys that hold jobs which are not at their end, or workflows that go on by themselves."""
        try:
            keys = [str(key, "utf-8") for key in self.redis.scan_iter(count=1000)]
        except redis_py.RedisError:
            return ["?"]
        jobs = ("queue:", "jobd:inflight:", "jobd:claim:", "schedule", "retry")
        unfinished = (*jobs, "jobd:workflows:due")
        return [key for key in keys if key.startswith(unfinished)]

    def owners_of_the_dead(self) -> bool:
        """Whether there are owners of jobs, so listed, beyond the workers that live."""
        living = sum(len(children(daemon, keepers=False)) for daemon in self._daemons)
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
        results = {key for key in left if key.startswith("jobd:result:")}
        unfinished = [key for key in results if self.redis.hget(key, "state") not in _ENDED]
        if unfinished:
            trouble.append(f"results without an end: {sorted(unfinished)[:10]}")
        # Reservations of due jobs end by themselves. No lock may be left, as all jobs have ended.
        passing = {"jobd:clock", "jobd:promoting:retry", "jobd:promoting:schedule", "jobd:departed"}
        # Of daemons that were killed; what was told of one that has stopped is gone.
        for key in ("jobd:keepers", "jobd:troubles"):
            passing.add(key)
            told = set(self.redis.hkeys(key))
            if told & {f"{hostname()}:{daemon.pid}".encode() for daemon in self._daemons}:
                trouble.append(f"daemons that have stopped are told of: {key} has {sorted(told)}")
        # What was cancelled while it waited is in the trash.
        kept: tuple[str, ...] = ("jobd:stat:", "jobd:trash", "jobd:audit")
        kept += ("jobd:leader", "jobd:periodic", "jobd:classes")
        kept += ("jobd:batches", "jobd:batch:", "jobd:workflows", "jobd:workflow:", "jobd:steps:")
        passing |= results | {key for key in left if key.startswith(kept)}
        if keys := sorted(left - passing):
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
            send(process.pid, signal.SIGTERM)
        give_up = time.monotonic() + AT_WORK
        while (found := left()) and time.monotonic() < give_up:
            time.sleep(0.05)
        return [processes.describe(process) for process in found]

    def close(self, *, keep: bool) -> None:
        """End everything; *keep* leaves the files for a look at them."""
        for daemon in self._daemons:
            for pid in below(daemon):
                send(pid, signal.SIGKILL)
            if daemon.alive():
                send(daemon.pid, signal.SIGKILL)
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
