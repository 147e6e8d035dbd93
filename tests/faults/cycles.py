"""Start, signal, stop, again and again: what row 52 does, and how to repeat a failure.

Everything random comes from a seed and the number of the cycle, so each cycle can be played alone:
its number is in the message of a failure.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

import psutil
import redis as redis_py

from jobd import Client
from jobd.errors import Exit
from tests.support import processes
from tests.support.daemon import Daemon
from tests.support.ledger import assert_conserved, whereabouts
from tests.support.notes import noting

APP = noting("""
    @job(name="note")
    def note(milliseconds):
        time.sleep(milliseconds / 1000)
        notes.sadd("test:ran", current_job().jid)
""")

# What each kind of process may get, and how often in comparison.
TO_MASTER = {
    Signals.SIGHUP: 3,
    Signals.SIGUSR1: 1,
    Signals.SIGTSTP: 1,
    Signals.SIGUSR2: 3,
    Signals.SIGTTIN: 2,
    Signals.SIGTERM: 2,
    Signals.SIGINT: 1,
    Signals.SIGQUIT: 1,
    Signals.SIGKILL: 1,
    Signals.SIGCHLD: 1,
    Signals.SIGCONT: 1,
    Signals.SIGWINCH: 1,
    Signals.SIGTTOU: 1,
    Signals.SIGPIPE: 1,
}
TO_CHILD = {
    Signals.SIGKILL: 2,
    Signals.SIGTERM: 2,
    Signals.SIGQUIT: 1,
    Signals.SIGUSR1: 1,
    Signals.SIGUSR2: 1,
    Signals.SIGTTIN: 1,
    Signals.SIGINT: 1,
    Signals.SIGHUP: 1,
    Signals.SIGSEGV: 1,
}
DEADLY = {Signals.SIGKILL, Signals.SIGSEGV}
MOST_SECONDS = 0.5
"""Between two signals."""


@dataclass(slots=True)
class Plan:
    """What happens in one cycle."""

    workers: int
    jobs: list[int]
    signals: list[tuple[float, bool, Signals]]
    """Seconds to wait, whether it is for the master, and the signal."""
    early: bool
    """Whether the first comes before the daemon is ready."""

    @classmethod
    def of(cls, seed: int, number: int) -> Plan:
        """The plan of cycle *number*.

        >>> Plan.of(1, 7) == Plan.of(1, 7) != Plan.of(1, 8)
        True
        """
        chance = random.Random(f"{seed}/{number}")

        def one() -> tuple[float, bool, Signals]:
            to_master = chance.random() < 0.7
            weights = TO_MASTER if to_master else TO_CHILD
            (chosen,) = chance.choices(list(weights), list(weights.values()))
            return chance.uniform(0, MOST_SECONDS), to_master, chosen

        return cls(
            workers=chance.randint(1, 3),
            jobs=[chance.choice([0, 5, 50, 400]) for _ in range(chance.randint(0, 8))],
            signals=[one() for _ in range(chance.randint(0, 5))],
            early=chance.random() < 0.5,
        )


class Cycles:
    """The cycles of one directory and one server; jobs go on from one to the next."""

    def __init__(self, directory: Path, url: str, redis: redis_py.Redis) -> None:
        self.directory = directory
        self.url = url
        self.redis = redis
        self.pushed: list[str] = []
        self._client = Client(url)
        Daemon(directory, url).write_app(APP)

    def play(self, plan: Plan) -> None:
        """One cycle, and the invariants after it."""
        for milliseconds in plan.jobs:
            jid = self._client.push({"class": "note", "args": [milliseconds]})
            assert jid is not None
            self.pushed.append(jid)
        running = self._daemon("-w", str(plan.workers))
        self._wait_for_pid(running)
        if not plan.early:
            self._wait_ready(running)
        for seconds, to_master, number in plan.signals:
            self._pass(running, seconds)
            self._send(running, to_master, number)
        killed = any(to_master and n is Signals.SIGKILL for _, to_master, n in plan.signals)
        # Who kills what is starting is told that it cannot start.
        deaths = sum(not to_master and n in DEADLY for _, to_master, n in plan.signals)
        self._end(running, killed=killed, given_up=plan.early and deaths > 0)

    def finish(self) -> None:
        """Let the last daemon do what is left; every job has been done."""
        running = self._daemon("-w", "2", "-c", "5")
        self._wait_ready(running)
        # What a poison pill's neighbours may become: in the dead set they are not lost.
        running.wait(self._settled, 60, "every job is done, or in the dead set")
        self._end(running, killed=False)
        self._assert_conserved()

    def _settled(self) -> bool:
        return not any(
            name.startswith((b"queue:", b"jobd:inflight:", b"jobd:claim:"))
            for name in self.redis.scan_iter(count=1000)
        )

    def _daemon(self, *flags: str) -> Daemon:
        running = Daemon(self.directory, self.url)
        for old in (running.log_file, running.output):
            old.unlink(missing_ok=True)
        running.expect_in_log("Segmentation fault", "Fatal Python error")
        running.run("-c", "2", "-t", "0.5", *flags, env={"NOTES": self.url})
        return running

    def _wait_for_pid(self, running: Daemon) -> None:
        """Before that the signals have their usual meaning. What a killed run has left in the
        file is not meant."""
        running.wait(
            lambda: (
                not running.alive()
                or (running.pidfile.exists() and running.pidfile.read_text() == f"{running.pid}\n")
            ),
            20,
            "the pid is known",
        )

    def _wait_ready(self, running: Daemon) -> None:
        running.wait(
            lambda: (
                running.state().get("pid") == running.pid
                and running.state().get("state") == "running"
            ),
            30,
            "the daemon is ready",
        )

    def _pass(self, running: Daemon, seconds: float) -> None:
        until = time.monotonic() + seconds
        while running.alive() and (left := until - time.monotonic()) > 0:
            time.sleep(min(0.02, left))

    def _send(self, running: Daemon, to_master: bool, number: Signals) -> None:
        try:
            if to_master:
                if running.alive():
                    os.kill(running.pid, number)
            elif children := sorted(running.children(), key=lambda child: child.pid):
                children[number % len(children)].send_signal(number)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass  # it was faster

    def _end(self, running: Daemon, *, killed: bool, given_up: bool = False) -> None:
        if running.alive() and not killed:
            running.assert_flat(10)
        if running.alive():
            os.kill(running.pid, signal.SIGTERM)
        code = running.wait_ended(40)
        # A job that was given back by nobody is recovered by the next start (75); three Ctrl-C are
        # never sent more than a second apart in one cycle, but may be, with others between (130).
        allowed = {0, 75, 130}
        allowed |= {-signal.SIGKILL} if killed else set()
        allowed |= {Exit.SOFTWARE} if given_up else set()
        assert code in allowed, f"the daemon ended with {code}\n{running.story()}"
        self._wait_until_alone(running)
        if code in (0, 75):
            for file in (running.pidfile, running.socket, *([running.state_file] * (code == 0))):
                assert not file.exists(), f"{file} is left\n{running.story()}"
        assert not (trouble := running.unexpected()), trouble
        self._assert_conserved()

    def _wait_until_alone(self, running: Daemon) -> None:
        """Workers of a killed master give their jobs back and leave."""

        def alone() -> bool:
            processes.reap()
            return not processes.descendants()

        running.wait(alone, 30, "all its processes have gone")

    def _assert_conserved(self) -> None:
        noted: Any = self.redis.smembers("test:ran")
        done = {jid.decode() for jid in noted}
        # A job may have noted its end and be given back all the same: it was faster than its
        # acknowledgement. That is allowed (at least once); to be nowhere is not.
        places = whereabouts(self.redis)
        assert_conserved(self.redis, self.pushed, done - places.keys())
