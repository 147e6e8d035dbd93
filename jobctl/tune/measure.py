"""Measures a running daemon from outside: nothing in a worker changes for it.

- CPU time of each worker: the kernel's, before and after.
- Running jobs: the scoreboard, as the master tells it with ``status``, ten times a second.
- The wait for the GIL: the main thread of a worker sleeps for a second at a time and then notes
  when it runs; by how much that is late is how long it waited for a CPU and for the GIL. The kernel
  knows for how long it waited for a CPU (``schedstat``); the rest is the GIL, and the little work
  that it does in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from jobd.master.control.messages import ChildStatus, DaemonStatus
from jobd.runtime.child.mainloop import TURN

EVERY = 0.1
"""Seconds between two looks."""

_AWAKE = 0.9
"""Share of a turn: a shorter one was ended by an event, and says nothing."""


@dataclass(slots=True)
class Measured:
    """One worker over the time.

    Attributes:
        cpu: seconds of CPU.
        busy: seconds of threads that ran jobs, all threads together.
        coroutines: the same of async jobs.
        jobs: that ended.
        cpu_wait: seconds for which its threads could run and had no CPU.
        gil_waits: seconds that a thread waited for the GIL, one for each time that was seen.
    """

    role: str
    pid: int
    cpu: float = 0.0
    busy: float = 0.0
    coroutines: float = 0.0
    jobs: int = 0
    cpu_wait: float = 0.0
    gil_waits: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measurement:
    """All workers that lived throughout.

    Attributes:
        cores: CPUs that the daemon may use.
    """

    seconds: float
    cores: int
    threads: int
    workers: list[Measured]


@dataclass(slots=True)
class _Watch:
    """What is known of one worker in between."""

    measured: Measured
    cpu: float
    waited: float
    processed: int
    beat: float | None = None
    main_waited: float = 0.0


def measure(
    status: Callable[[], DaemonStatus], seconds: float, pause: Callable[[float], None] = time.sleep
) -> Measurement:
    """Watch for so many seconds.

    Args:
        status: asks the master.
    """
    first = status()
    watches = {child.pid: watch for child in first.workers if (watch := _begin(child)) is not None}
    began = last = time.monotonic()
    latest = first
    while (now := time.monotonic()) < began + seconds:
        pause(min(EVERY, max(0.0, began + seconds - now)))
        latest = status()
        now = time.monotonic()
        for child in latest.workers:
            if (watch := watches.get(child.pid)) is not None:
                _look(watch, child, now, now - last)
        last = now
    living = {child.pid: child for child in latest.workers}
    ended = [
        done
        for pid, watch in watches.items()
        if pid in living and (done := _end(watch, living[pid])) is not None
    ]
    cores = _cores(first.pid)
    return Measurement(time.monotonic() - began, cores, first.concurrency, ended)


def _begin(child: ChildStatus) -> _Watch | None:
    try:
        return _Watch(
            Measured(child.role, child.pid),
            _cpu(child.pid),
            _waited(child.pid),
            child.processed,
            main_waited=_main_waited(child.pid),
        )
    except (psutil.Error, OSError, ValueError):
        return None


def _look(watch: _Watch, child: ChildStatus, now: float, gap: float) -> None:
    measured = watch.measured
    measured.busy += gap * (child.busy - child.coroutines)
    measured.coroutines += gap * child.coroutines
    beat = now - child.beat_age
    if watch.beat is None:
        watch.beat = beat
        return
    turn = beat - watch.beat
    if turn < EVERY:
        return  # the same beat
    try:
        waited = _main_waited(child.pid)
    except (OSError, ValueError):
        return
    if turn > _AWAKE * TURN:
        measured.gil_waits.append(max(0.0, turn - TURN - (waited - watch.main_waited)))
    watch.beat, watch.main_waited = beat, waited


def _end(watch: _Watch, child: ChildStatus) -> Measured | None:
    measured = watch.measured
    try:
        measured.cpu = _cpu(child.pid) - watch.cpu
        measured.cpu_wait = max(0.0, _waited(child.pid) - watch.waited)
    except (psutil.Error, OSError, ValueError):
        return None
    measured.jobs = child.processed - watch.processed
    return measured


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _main_waited(pid: int) -> float:
    """Seconds for which the main thread could run and had no CPU: see proc(5), schedstat."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _waited(pid: int) -> float:
    """The same of all threads that live."""
    whole = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            whole += int(file.read_text().split()[1])
        except OSError:
            continue  # it has ended
    return whole / 1e9


def _cores(pid: int) -> int:
    try:
        return len(psutil.Process(pid).cpu_affinity() or ()) or psutil.cpu_count() or 1
    except psutil.Error:
        return psutil.cpu_count() or 1
