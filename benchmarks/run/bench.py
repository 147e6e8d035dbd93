"""The bench: the server, the tally, a contender's processes, its queue."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks.load import stamps, tally, work
from benchmarks.run.contenders import BY_NAME, THREADS, Contender, Kind, Setup
from jobd.testing.server import EmbeddedServer
from jobd.testing.tether import spawn

ROOT = Path(__file__).parents[2]

POLL = 0.002
"""Seconds between looks at the tally: the resolution of all measurements of drains."""

READY_SECONDS = 60.0
DRAIN_SECONDS = 60.0
_PUT_AWAY_SECONDS = 10.0
_STOP_SECONDS = 6.0
_PATIENCE = 30.0
_WARM_UP = 300


# A queue that appears at once where it is a stream: its consumer group stays, and a copy would not.
_FILL_STREAM = """
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])) do
    redis.call('XADD', KEYS[2], '*', unpack(entry[2]))
end
"""


class NotReadyError(RuntimeError):
    """Workers did not start."""


FAILURES = (RuntimeError, OSError, subprocess.SubprocessError, redis.RedisError)
"""What may go wrong with a contender and must not end the run."""


class Bench:
    """Everything that one measurement needs. Use it in a ``with`` statement.

    Args:
        url: a server to use instead of the embedded one. All of its data is deleted.
    """

    def __init__(self, url: str = "") -> None:
        self._given = url
        self.directory = Path(tempfile.mkdtemp(prefix="jobd-bench-"))
        self.url = ""
        self.quiet = True
        self.trace: list[tuple[float, int]] = []
        """Of the last drain: how many jobs had run after so many seconds."""
        self._stocked: dict[str, int] = {}

    def __enter__(self) -> Bench:
        if self._given:
            self._server = None
            self.url = self._given
        else:
            # Without persistence, for all alike: what is compared is the tools, not the disk.
            options = {"appendonly": "no", "maxclients": "12000"}
            self._server = EmbeddedServer(tcp=True, options=options).start()
            self.url = self._server.tcp_url
        self.redis = redis.Redis.from_url(self.url, protocol=2)
        self.redis.flushall()
        self.tally = tally.Tally(self.directory / "tally")
        self.stamps = stamps.make(self.directory / "stamps")
        return self

    @property
    def server(self) -> str:
        """Name and version of the server."""
        about = self.redis.info("server")
        name = about.get("server_name", "redis")
        return f"{name} {about.get(f'{name}_version', about['redis_version'])}"

    def __exit__(self, *_: object) -> None:
        self.tally.close()
        self.redis.close()
        if self._server is not None:
            self._server.remove()
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- processes -------------------------------------------------------------------------------

    def environment(self, url: str = "", at_once: int = THREADS) -> dict[str, str]:
        # Modules are compiled once, as they are where packages are installed.
        foreign = ("JOBD_", "REDIS_", "SIDEKIQ_", "CELERY_", "dramatiq_", "PYTHONDONTWRITE")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
        return {
            **kept,
            "PYTHONPATH": path,
            "JOBD_REDIS": url or self.url,
            "JOBD_BENCH_URL": url or self.url,
            "JOBD_BENCH_QUIET": str(int(self.quiet)),
            "JOBD_BENCH_AT_ONCE": str(at_once),
            work.VARIABLE: str(work.NAP),
            tally.VARIABLE: str(self.tally.path),
            stamps.VARIABLE: str(self.directory / "stamps"),
        }

    @contextmanager
    def processes(
        self, commands: list[list[str]], url: str = "", at_once: int = THREADS
    ) -> Iterator[list[int]]:
        """Run *commands*; yields the process ids, and ends them all with what they started."""
        log = self.directory / "output.txt"
        started: list[subprocess.Popen[bytes]] = []
        try:
            with log.open("wb") as output:
                for command in commands:
                    words = [word.replace("{url}", url or self.url) for word in command]
                    words[0] = shutil.which(words[0]) or words[0]
                    started.append(
                        spawn(
                            words,
                            output=output,
                            directory=self.directory,
                            environment=self.environment(url, at_once),
                        )
                    )
            yield [process.pid for process in started]
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + _STOP_SECONDS
            for process in started:
                try:
                    process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def output(self) -> str:
        """What the processes wrote last."""
        return (self.directory / "output.txt").read_text(errors="replace")[-3000:]

    @contextmanager
    def workers(
        self,
        contender: Contender,
        processes: int,
        url: str = "",
        *flags: str,
        at_once: int = THREADS,
    ) -> Iterator[list[int]]:
        """A contender's workers, warm: every process has run some jobs."""
        self.stock(contender, "sleep", _WARM_UP)
        before = self.tally.processes()
        commands = contender.commands(Setup(processes, self.quiet, at_once))
        with self.processes([[*command, *flags] for command in commands], url, at_once) as pids:
            deadline = time.monotonic() + READY_SECONDS
            expected = processes * contender.expected
            while len(self.tally.processes() - before) < expected:
                if time.monotonic() > deadline:
                    raise NotReadyError(f"{contender.name} is not ready: {self.output()}")
                # Sleeping jobs, so that no process can take them all.
                try:
                    self.drain(contender, "sleep", _WARM_UP, READY_SECONDS)
                except RuntimeError as error:
                    raise NotReadyError(str(error)) from error
            yield pids

    def keys(self, pattern: str) -> list[str]:
        found: Any = self.redis.keys(pattern)
        return [key.decode() for key in found]

    # -- the queue -------------------------------------------------------------------------------

    def stock(self, contender: Contender, workload: str, jobs: int) -> None:
        """Have at least *jobs* jobs in store, pushed by the contender's own means.

        Its workers must not be running. What is in store is copied for every drain.
        """
        name = _pushed_by(contender)
        stash = f"stash:{name}:{workload}"
        if self._stocked.get(stash, 0) >= jobs:
            return
        for key in self.keys(f"{stash}*"):
            self.redis.unlink(key)
        self.clear(contender)
        self.produce(name, workload, jobs, "push_bulk")
        self.redis.rename(contender.queue, stash)
        pipeline = self.redis.pipeline()
        for pattern in contender.beside:
            for key in self.keys(pattern):
                pipeline.rename(key, f"{stash}:{key}")
        pipeline.execute()
        self._stocked[stash] = jobs

    def lay_out(self, contender: Contender, workload: str, jobs: int) -> None:
        """Copy *jobs* jobs out of the store, and everything else that belongs to them."""
        stash = f"stash:{_pushed_by(contender)}:{workload}"
        if contender.beside:
            pipeline = self.redis.pipeline()
            for key in self.keys(f"{stash}:*"):
                pipeline.copy(key, key.removeprefix(f"{stash}:"), replace=True)
            pipeline.execute()
        if contender.kind is Kind.STREAM:
            return
        self.redis.copy(stash, "ready", replace=True)
        if contender.kind is Kind.LIST:
            self.redis.ltrim("ready", 0, jobs - 1)
        else:
            self.redis.zremrangebyrank("ready", jobs, -1)

    def appear(self, contender: Contender, workload: str, jobs: int) -> None:
        """Let what is laid out be the queue, all of it at once."""
        if contender.kind is Kind.STREAM:
            stash = f"stash:{_pushed_by(contender)}:{workload}"
            self.redis.eval(_FILL_STREAM, 2, stash, contender.queue, str(jobs))
        else:
            self.redis.rename("ready", contender.queue)

    def _await_put_away(self, contender: Contender) -> None:
        """Until the workers have removed what belonged to the jobs that they ran."""
        deadline = time.monotonic() + _PUT_AWAY_SECONDS
        while self._unfinished(contender):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{contender.name} has not put away all that it ran")
            time.sleep(POLL)

    def _unfinished(self, contender: Contender) -> bool:
        if not (key := contender.unfinished):
            return False
        # A stream stays when it is empty.
        stream = contender.kind is Kind.STREAM
        return bool(self.redis.xlen(key) if stream else self.keys(key))

    def clear(self, contender: Contender) -> None:
        """Remove its queue and everything that belongs to it."""
        self.redis.unlink(contender.queue)
        for pattern in contender.beside:
            if keys := self.keys(pattern):
                self.redis.unlink(*keys)

    def produce(self, name: str, workload: str, jobs: int, how: str) -> float:
        """Push jobs in a process of their own; returns the seconds that the pushes took."""
        return self.produce_in(1, name, workload, jobs, how)

    def produce_in(self, processes: int, name: str, workload: str, jobs: int, how: str) -> float:
        """The same in several processes at once; returns the seconds of the slowest."""
        python = BY_NAME[name].python
        command = [python, "-m", "benchmarks.load.produce", name, workload, str(jobs), how]
        running = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self.environment(),
                cwd=self.directory,
            )
            for _ in range(processes)
        ]
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        for process in running:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        answers = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise RuntimeError(f"{name} could not {how}")
        return max(map(float, answers))

    def drain(
        self, contender: Contender, workload: str, jobs: int, patience: float = DRAIN_SECONDS
    ) -> float:
        """Let waiting workers find *jobs* jobs at once; returns the seconds until all have run."""
        self.lay_out(contender, workload, jobs)
        return self.run_out(contender, workload, jobs, patience)

    def run_out(
        self, contender: Contender, workload: str, jobs: int, patience: float = DRAIN_SECONDS
    ) -> float:
        """The same with jobs that are laid out."""
        start = self.tally.total()
        goal = start + jobs
        self.trace = []
        began = time.monotonic()
        self.appear(contender, workload, jobs)
        while (total := self.tally.total()) < goal:
            self.trace.append((time.monotonic() - began, total - start))
            time.sleep(POLL)
            if time.monotonic() - began > patience:
                raise RuntimeError(
                    f"{contender.name} ran {total - start:,} of {jobs:,} jobs: {self.output()}"
                )
        seconds = time.monotonic() - began
        self.trace.append((seconds, jobs))
        self._await_put_away(contender)
        return seconds


def _pushed_by(contender: Contender) -> str:
    return "jobd" if contender.name == "bare" else contender.name


def wait(condition: Callable[[], bool], bench: Bench) -> None:
    """Until *condition* holds, which jobs make true.

    Raises:
        RuntimeError: it does not.
    """
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"held jobs did not go on in {_PATIENCE:g} s: {bench.output()}")
        time.sleep(0.001)
