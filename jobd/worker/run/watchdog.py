"""The watchdog of the event loop: a thread that notices when a job blocks it.

While async jobs run, it asks the loop for a sign of life ten times a second. If none comes for a
quarter of a second, the log says once which job and which line hold the loop up. It never ends
anything: neither leases nor the heartbeat depend on the loop.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from types import FrameType

from jobd.runtime.log import log
from jobd.worker.run.loop import EventLoop, Loop
from jobd.worker.run.tasks import Tasks

TICK = 0.1
"""Seconds between the questions."""

LIMIT = 0.25
"""Seconds without an answer after which the loop counts as blocked."""

REST = 10
"""Ticks without any job on the loop after which the watchdog sleeps until there is one."""

_FRAMES = 30
_IDLE = ("/selectors.py", "/asyncio/base_events.py", "/asyncio/events.py", "/threading.py")


class Watchdog(threading.Thread):
    """Watches *loop* while *tasks* run on it."""

    def __init__(self, loop: EventLoop, tasks: Tasks) -> None:
        super().__init__(name="loop-watchdog", daemon=True)
        self._loop = loop
        self._tasks = tasks
        self._awake = threading.Event()
        self._log = log.get("jobd.loop")
        self._worst = 0.0

    def wake(self) -> None:
        """There are jobs on the loop."""
        if not self._awake.is_set():
            self._awake.set()
            if self.ident is None:
                self.start()

    def worst(self) -> float:
        """The longest lag since the last call, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def run(self) -> None:
        idle = 0
        while True:
            self._awake.wait()
            self._look()
            time.sleep(TICK)
            idle = 0 if self._tasks.running else idle + 1
            if idle >= REST:
                idle = 0
                self._awake.clear()
                if self._tasks.running:
                    self._awake.set()

    def _look(self) -> None:
        """Ask the loop, and wait for its answer."""
        loop = self._loop.running
        if loop is None:
            return
        answered = threading.Event()
        began = time.monotonic()
        try:
            loop.call_soon_threadsafe(answered.set)
        except RuntimeError:
            return  # closed: the worker ends
        if not answered.wait(LIMIT):
            self._tell(loop)
            while not answered.wait(TICK):
                self._note(time.monotonic() - began)
        self._note(time.monotonic() - began)

    def _note(self, lag: float) -> None:
        self._worst = max(self._worst, lag)

    def _tell(self, loop: Loop) -> None:
        frame = sys._current_frames().get(self._loop.ident)
        task = asyncio.current_task(loop)
        fields = {} if task is None else self._tasks.fields_of(task) or self._loop.fields_of(task)
        if frame is None or frame.f_code.co_filename.endswith(_IDLE):
            where, stack = "it waits for the interpreter, which other threads keep busy", ""
        else:
            where = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
            stack = _stack(frame)
        self._log.warning(
            "loop_blocked",
            **fields,
            seconds=LIMIT,
            where=where,
            **({"stack": stack} if stack else {}),
        )


def _stack(frame: FrameType) -> str:
    return "".join(traceback.format_list(traceback.extract_stack(frame, _FRAMES))).rstrip()
