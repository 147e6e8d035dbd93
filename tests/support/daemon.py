"""A real daemon for a test: real processes, real signals, a real server.

Example:
    def test_it_runs(daemon, redis):
        app = '''
            from jobd import job
            @job
            def hello(name): ...
        '''
        running = daemon(app, "-c", "2")
        ...
        running.wait(lambda: redis.get("stat:processed") == b"1", 5, "one job processed")
        running.stop()

When the test ends, the invariants are checked, whatever the test was about: the master has one
thread, no zombie, and as many descriptors as when it was ready; stopped, it ends well, its files
are gone, and its log holds no traceback (but those of jobs) that the test did not announce with
:meth:`Daemon.expect_in_log`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from jobd.testing.tether import spawn
from tests.support import forkserver, processes
from tests.support.forkserver import Forked

READY_SECONDS = 60.0
_PAUSE_SECONDS = 0.02
_PER_CHILD = 4  # its line, its pidfd, its page and its dump memory
_TROUBLE = re.compile(r"Traceback \(most recent call last\)|Fatal Python error|Logging error")
# What a job raises is the application's own trouble.
_JOB_FAILED = '"event":"job_failed"'
_RECORD = re.compile(r'(?={"timestamp": ?")')
# Settings of whoever runs the tests must not reach the daemons under test.
_FOREIGN = re.compile(
    r"JOBD_|REDIS_|SIDEKIQ_|NOTIFY_SOCKET|WATCHDOG_|LISTEN_|DYNO$|COLUMNS$|LINES$"
)
# What an interpreter reads when it starts.
_OF_THE_INTERPRETER = re.compile(r"PYTHON|LANG$|LC_|TZ$|PATH$|LD_")


class WaitFailed(AssertionError):
    """A condition did not come true in time."""


def wait(condition: Callable[[], Any], timeout: float, what: str) -> Any:
    """Return the first true value of *condition*; fail after *timeout* seconds, naming *what*."""
    deadline = time.monotonic() + timeout
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise WaitFailed(f"not within {timeout:g} s: {what}; last value: {value!r}")
        time.sleep(_PAUSE_SECONDS)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without settings of jobd, Redis, systemd or a terminal (pytest-xdist sets its
    width), and with *extra*."""
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    checkout = str(Path(__file__).parents[2])
    path = [checkout, *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), **(extra or {})}


def descriptors(pid: int) -> list[str]:
    """What the open descriptors of *pid* lead to; empty when it has gone."""
    found = []
    try:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.append(str(fd.readlink()))
            except OSError:
                continue  # closed meanwhile
    except OSError:
        return []
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Daemon:
    """One daemon in a directory of its own.

    Args:
        directory: holds the application module ``app.py``, the log, the pidfile and its company.
        url: the Redis server.

    Attributes:
        prefix: a command in front of jobd's, which must become jobd by exec (``unshare -m``).
    """

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.pidfile = directory / "jobd.pid"
        self.state_file = directory / "jobd.state"
        self.socket = directory / "jobd.sock"
        self.dump_file = directory / "jobd.dump"
        self.log_file = directory / "jobd.log"
        self.output = directory / "output.txt"
        self.leaves_files = False
        self.exit_codes: set[int] | None = {0}
        self.prefix: list[str] = []
        self._baseline: dict[int, int] = {}
        self._expected: list[str] = []
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._master: psutil.Process | None = None

    # Beginning

    def write_app(self, source: str, name: str = "app") -> Path:
        """Write the application module (the text may be indented)."""
        module = self.directory / f"{name}.py"
        module.write_text(textwrap.dedent(source))
        return module

    def command(self, verb: str, *flags: str) -> list[str]:
        """The command line of ``jobd VERB`` for this directory."""
        return [
            *self.prefix,
            sys.executable,
            "-m",
            "jobd",
            verb,
            *("--redis", self.url),
            *("--pidfile", str(self.pidfile)),
            *("--logfile", str(self.log_file)),
            *("--log-format", "json"),
            *("--log-level", "debug"),
            *flags,
        ]

    def run(self, *flags: str, require: str = "app", env: Mapping[str, str] | None = None) -> None:
        """Start ``jobd run`` and return at once. It is forked where nothing asks for a Python of
        its own: a command in front of it, or the environment."""
        command = self.command("run", "-r", require, *flags)
        plain = command[:3] == [sys.executable, "-m", "jobd"]
        with self.output.open("ab") as output:
            if plain and not any(_OF_THE_INTERPRETER.match(name) for name in env or {}):
                self._process = forkserver.server.spawn(
                    "jobd",
                    command[3:],
                    output=output.fileno(),
                    directory=self.directory,
                    environment=environment(env),
                )
            else:
                self._process = spawn(
                    command,
                    output=output,
                    directory=self.directory,
                    environment=environment(env),
                )
        self._master = psutil.Process(self._process.pid)

    def start(
        self,
        *flags: str,
        require: str = "app",
        env: Mapping[str, str] | None = None,
        timeout: float = READY_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``jobd start`` to its end; the daemon that it leaves is ours to watch."""
        done = subprocess.run(
            self.command("start", "-r", require, *flags),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.directory,
            env=environment(env),
            check=False,
        )
        if done.returncode == 0:
            self._master = psutil.Process(int(self.pidfile.read_text()))
        return done

    def wait_ready(self, timeout: float = READY_SECONDS) -> Daemon:
        """Return when every worker has been ready once; fail early if the daemon ends."""

        def ready() -> bool:
            if not self.alive():
                raise AssertionError(f"the daemon ended with {self.returncode}\n{self.story()}")
            state = self.state()  # maybe still that of a run before, which was killed
            return bool(state.get("pid") == self.own_pid and state.get("state") == "running")

        self.wait(ready, timeout, "the daemon is ready")
        self._baseline.setdefault(self.pid, self._own_descriptors())
        return self

    # Looking

    @property
    def pid(self) -> int:
        """Process id of the master."""
        if self._master is None:
            raise RuntimeError("this daemon was not started")
        return self._master.pid

    @property
    def own_pid(self) -> int:
        """What the master calls itself; another number only in a namespace of its own."""
        return self.pid

    @property
    def returncode(self) -> int | None:
        """Exit code of ``jobd run``; None while it runs, and for a detached daemon."""
        return self._process.poll() if self._process else None

    def alive(self) -> bool:
        """Whether the master runs (an unreaped corpse does not count)."""
        if self._process is not None:
            return self._process.poll() is None
        if self._master is None:
            return False
        try:
            return self._master.is_running() and self._master.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def state(self) -> dict[str, Any]:
        """Content of the state file; empty while there is none."""
        try:
            found: dict[str, Any] = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return {}
        return found

    def children(self) -> list[psutil.Process]:
        """Workers and keeper that live, as the kernel knows them."""
        try:
            found = psutil.Process(self.pid).children()
        except psutil.NoSuchProcess:
            return []
        return [child for child in found if _lives(child)]

    def workers(self) -> list[int]:
        """Process ids of the workers that live, by slot (the state file is a moment behind)."""
        living = {child.pid for child in self.children()}
        known = sorted(self.state().get("workers", []), key=lambda worker: int(worker["slot"]))
        return [worker["pid"] for worker in known if worker["pid"] in living]

    def keeper(self) -> int | None:
        """Process id of the keeper; None while there is none."""
        known = (self.state().get("keeper") or {}).get("pid")
        return known if known in {child.pid for child in self.children()} else None

    def log(self) -> str:
        """Everything that the daemon has written: its log and its standard streams."""
        parts = [self.output, self.log_file, *sorted(self.directory.glob("jobd.log.*"))]
        return "".join(part.read_text(errors="replace") for part in parts if part.is_file())

    def records(self) -> list[dict[str, Any]]:
        """The JSON records of the log, but for those that are only half there: who reads while
        somebody writes may see the beginning of one; and of one that crosses a page of the file,
        a process that is killed meanwhile leaves the beginning, and the next record follows it."""
        lines = self.log().splitlines(keepends=True)
        begun = (_RECORD.split(line)[-1] for line in lines)
        return [json.loads(line) for line in begun if line.startswith("{") and line.endswith("}\n")]

    def story(self) -> str:
        """State and the end of the log, for messages."""
        below = "\n".join(processes.describe(process) for process in processes.descendants())
        state = json.dumps(self.state(), indent=1)
        return f"-- state\n{state}\n-- processes\n{below}\n-- log\n{self.log()[-8000:]}"

    def wait(self, condition: Callable[[], Any], timeout: float, what: str) -> Any:
        """As :func:`wait`, and the failure shows what the daemon said."""

        def look() -> Any:
            processes.reap(own=[self._process.pid] if self._process else [])
            return condition()

        try:
            return wait(look, timeout, what)
        except WaitFailed as failure:
            raise WaitFailed(f"{failure}\n{self.story()}") from None

    def wait_for_log(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """Return when the log has text that matches *pattern*."""
        found: re.Match[str] = self.wait(
            lambda: re.search(pattern, self.log()), timeout, f"{pattern!r} in the log"
        )
        return found

    def expect_in_log(self, *patterns: str) -> None:
        """Announce tracebacks: those whose text matches one of *patterns* are no failure."""
        self._expected.extend(patterns)

    # Acting

    def signal(self, number: signal.Signals) -> None:
        """Send *number* to the master."""
        os.kill(self.pid, number)

    def jobctl(self, *arguments: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run ``jobctl --pidfile OURS ARGUMENTS``."""
        return forkserver.server.run(
            "jobctl",
            ["--pidfile", str(self.pidfile), *arguments],
            directory=self.directory,
            environment=environment(),
            timeout=timeout,
        )

    def wait_ended(self, timeout: float = 20.0) -> int | None:
        """Return the exit code when the master has gone (None for a detached daemon)."""
        self.wait(lambda: not self.alive(), timeout, "the master has ended")
        return self.returncode

    def stop(self, timeout: float = 20.0) -> int | None:
        """SIGTERM, then as :meth:`wait_ended`."""
        if self.alive():
            self.signal(signal.SIGTERM)
        return self.wait_ended(timeout)

    def kill(self) -> None:
        """SIGKILL the master and every child of it at once, as a machine that loses power does."""
        self.leaves_files = True
        self.exit_codes = None
        doomed = [psutil.Process(self.pid), *self.children()]
        for process in doomed:
            process.suspend()
        for process in doomed:
            process.kill()
        self.wait_ended()

    # The end

    def _own_descriptors(self) -> int:
        """How many descriptors the master has open, those for its children left out."""
        # Between the two looks a child may come or go, and while it runs the master may have a file
        # open for a moment: then the number means nothing.
        while True:
            before, running = self._family(), self._runs()
            found = len(descriptors(self.pid))
            if self._family() == before and not running and not self._runs():
                return found - _PER_CHILD * len(before)

    def _runs(self) -> bool:
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_RUNNING
        except psutil.NoSuchProcess:
            return False

    def _family(self) -> set[int]:
        try:
            return {child.pid for child in psutil.Process(self.pid).children()}
        except psutil.NoSuchProcess:
            return set()

    def assert_flat(self, within: float = 5.0) -> None:
        """The master has one thread, no zombie, and as many descriptors as when it was ready.

        What is under way, such as an answer to a client or the reaping of a child, has *within*
        seconds to end.
        """
        baseline = self._baseline.get(self.pid)

        def trouble() -> list[str]:
            found = []
            master = psutil.Process(self.pid)
            if (threads := master.num_threads()) != 1:
                found.append(f"{threads} threads")
            if dead := [child.pid for child in master.children() if not _lives(child)]:
                found.append(f"zombies {dead}")
            if baseline is not None and (number := self._own_descriptors()) != baseline:
                now = sorted(descriptors(self.pid))
                found.append(f"{number} descriptors of its own and not {baseline}: {now}")
            return found

        deadline = time.monotonic() + within
        while True:
            try:
                left = trouble()
            except psutil.NoSuchProcess:
                return  # it has ended: what is left to be checked are its traces
            if not left or not self.alive():
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"the master has {'; '.join(left)}\n{self.story()}")
            time.sleep(_PAUSE_SECONDS)

    def check(self) -> None:
        """Assert the invariants, and stop what still runs."""
        try:
            if self.alive():
                if self.state().get("state") in ("running", "quiet"):
                    self.assert_flat()
                self.stop()
        finally:
            self._end_by_force()
        processes.reap()
        trouble = self.unexpected()
        assert not trouble, f"tracebacks in the log that no test announced:\n{trouble}"
        if self.exit_codes is not None and self._process is not None:
            code = self._process.returncode
            assert code in self.exit_codes, f"the daemon ended with {code}\n{self.story()}"
        if not self.leaves_files:
            company = (self.pidfile, self.state_file, self.socket, self.dump_file)
            left = [p.name for p in company if p.exists()]
            assert not left, f"the daemon left {left} behind\n{self.story()}"

    def _end_by_force(self) -> None:
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def unexpected(self) -> str:
        """The parts of the log with a traceback that was not announced."""
        # A JSON record is a line; what a dying interpreter prints is text until a blank line.
        parts = re.split(r"\n(?=\{)|\n\n|(?<=\})\n", self.log())
        patterns = [_JOB_FAILED, *self._expected]
        return "\n".join(
            part
            for part in parts
            if _TROUBLE.search(part) and not any(re.search(p, part) for p in patterns)
        )
