"""The daemons of a run, and what is done to them.

Only processes below those that were started here are ever signalled, and only connections with the
name of this run are cut.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from jobctl.chaos import journal
from jobctl.chaos.plan import QUEUES, Fault, Kind
from jobd.api.entry import Api
from jobd.errors import UnavailableError
from jobd.master.files import paths, statefile
from jobd.runtime.child.birth import become_subreaper
from jobd.testing.scratch import Scratch
from jobd.testing.tether import spawn

MASTERS, WORKERS, THREADS = 2, 2, 4

_FROZEN = 2.0
"""Seconds for which a worker is stopped: less than its lease."""

_END = 15.0
"""Seconds for all to stop."""


@dataclass(slots=True)
class Record:
    """What was done.

    Attributes:
        injuries: by process id, each with its time (monotonic seconds).
    """

    faults: Counter[Kind] = field(default_factory=Counter)
    kills: int = 0
    injuries: dict[int, list[tuple[float, Kind]]] = field(default_factory=dict)

    def injure(self, pid: int, kind: Kind) -> None:
        self.injuries.setdefault(pid, []).append((time.monotonic(), kind))


class Daemons:
    """Several daemons in a directory of their own.

    Args:
        url: of Redis; its password goes to them by their environment.
        name: of their connections; "" if they have none, and are not cut.
    """

    def __init__(self, url: str, prefix: str, name: str) -> None:
        with suppress(OSError):  # what masters leave behind would go to PID 1
            become_subreaper()
        self._scratch = Scratch("chaos")
        self.directory = self._scratch.path
        self.journal = self.directory / "journal"
        self.journal.mkdir()
        self.record = Record()
        self._name = name
        others = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("JOBD_", "NOTIFY_", "WATCHDOG_"))
        }
        self._environment = {
            **others,
            "JOBD_REDIS": _named(url, name) if name else url,
            "JOBD_PREFIX": prefix,
            journal.DIRECTORY: str(self.journal),
        }
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []
        for number in range(MASTERS):
            self._start(number)

    def _start(self, number: int) -> None:
        home = self.directory / f"daemon{number}"
        home.mkdir(exist_ok=True)
        queues = [word for name in QUEUES for word in ("-q", f"{name},1")]
        command = [
            *(sys.executable, "-m", "jobd", "run", "-r", "jobctl.chaos.app", *queues),
            *("-w", str(WORKERS), "-c", str(THREADS), "-t", "2", "--start-timeout", "60"),
            *("--pidfile", str(home / "jobd.pid"), "--logfile", str(home / "jobd.log")),
        ]
        with (home / "output").open("ab") as output:
            self._running[number] = spawn(
                command, output=output, directory=home, environment=self._environment
            )

    def tend(self) -> None:
        """Start again what has ended, and let go on what was stopped long enough."""
        now = time.monotonic()
        due = [action for at, action in self._later if at <= now]
        self._later = [each for each in self._later if each[0] > now]
        for action in due:
            action()
        _reap({each.pid for each in self._running.values()})
        for number, process in self._running.items():
            if process.poll() is not None:
                self._start(number)

    def refuse_to_start(self) -> bool:
        """Whether one has ended before all were ready."""
        return any(process.poll() is not None for process in self._running.values())

    def ready(self) -> bool:
        """Whether all workers of all daemons take jobs."""
        states = [self._state(number) for number in self._running]
        return all(
            state is not None and state.pid == self._running[number].pid and len(state.workers)
            for number, state in enumerate(states)
        )

    def _state(self, number: int) -> statefile.State | None:
        path = paths.state_path(self.directory / f"daemon{number}" / "jobd.pid")
        return statefile.load(path, os.geteuid())

    # -- faults ----------------------------------------------------------------------------------

    def inject(self, fault: Fault, api: Api) -> None:
        """Do it, if there is somebody to do it to."""
        kind = fault.kind
        if kind is Kind.CONNECTIONS_KILL:
            done = self._cut(api)
        elif kind in (Kind.WORKER_KILL, Kind.KEEPER_KILL, Kind.WORKER_STOP):
            done = self._hit_child(fault)
        else:
            done = self._hit_master(fault)
        self.record.faults[kind] += done

    def _cut(self, api: Api) -> bool:
        if not self._name:
            return False
        try:
            listed = api.redis.client_list()
            own = [each["id"] for each in listed if each.get("name") == self._name]
            for number in own:
                api.redis.client_kill_filter(_id=number)
        except UnavailableError:
            return False
        return bool(own)

    def _hit_child(self, fault: Fault) -> bool:
        keepers = fault.kind is Kind.KEEPER_KILL
        pids = [
            record.pid
            for number, process in self._running.items()
            if process.poll() is None and (state := self._state(number)) is not None
            for record in ([state.keeper] if keepers else state.workers)
            if record is not None and record.pid in _below(process.pid)
        ]
        if not pids:
            return False
        pid = pids[int(fault.victim * len(pids))]
        if fault.kind is Kind.WORKER_STOP:
            if not _send(pid, signal.SIGSTOP):
                return False
            self._after(_FROZEN, lambda: _send(pid, signal.SIGCONT))
            return True
        self.record.injure(pid, fault.kind)
        self.record.kills += 1
        return _send(pid, signal.SIGKILL)

    def _hit_master(self, fault: Fault) -> bool:
        living = [each for each in self._running.values() if each.poll() is None]
        if not living:
            return False
        master = living[int(fault.victim * len(living))].pid
        family = _below(master)
        for pid in family:
            self.record.injure(pid, fault.kind)
        if fault.kind is Kind.MASTER_HUP:
            return _send(master, signal.SIGHUP)
        if fault.kind is Kind.MASTER_TERM:
            return _send(master, signal.SIGTERM)
        if fault.kind is Kind.DAEMON_KILL:
            for pid in (master, *family):  # first, so that none sees another die
                _send(pid, signal.SIGSTOP)
            self.record.kills += sum(_send(pid, signal.SIGKILL) for pid in family)
        self.record.kills += 1
        return _send(master, signal.SIGKILL)

    def _after(self, seconds: float, action: Callable[[], object]) -> None:
        self._later.append((time.monotonic() + seconds, lambda: void(action())))

    # -- the end ---------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop all, as an operator would."""
        for _, action in self._later:
            action()
        self._later = []
        for process in self._running.values():
            process.terminate()
        end = time.monotonic() + _END
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))

    def remove(self) -> None:
        """End everything that is left, also by masters that were killed or by a fork just now, and
        remove the files."""
        while left := _below(os.getpid()):
            for pid in left:
                _send(pid, signal.SIGKILL)
            for process in self._running.values():
                process.wait()
            _reap(set())
            time.sleep(0.01)
        self._running = {}
        self._scratch.remove()

    def logs(self) -> str:
        """The end of each log."""
        found = []
        for file in sorted(self.directory.glob("daemon*/*")):
            if file.name in ("jobd.log", "output"):
                found.append(file.read_text(errors="replace")[-1000:])
        return "\n".join(filter(None, found))


def void(_: object) -> None:
    """Nothing."""


def _named(url: str, name: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}client_name={name}"


def _below(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _reap(own: set[int]) -> None:
    """Reap what masters that were killed have left to this process."""
    for child in psutil.Process().children():
        if child.pid not in own:
            with suppress(ChildProcessError, psutil.NoSuchProcess):
                if child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)
