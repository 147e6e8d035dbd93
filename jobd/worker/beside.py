"""A thread for application code that must not block the main thread.

It is started at boot: during a stop it may be impossible to start a thread, and a worker that
fails then would take its running jobs with it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from jobd.runtime.log import log


class Beside(threading.Thread):
    """Runs tasks one after the other.

    Args:
        on_done: called by this thread after each task.
    """

    def __init__(self, name: str, on_done: Callable[[], None] = lambda: None) -> None:
        super().__init__(name=name, daemon=True)
        self._on_done = on_done
        self._due: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._idle = threading.Condition()
        self._open = 0

    @property
    def busy(self) -> bool:
        """Whether a task is running or queued."""
        return self._open > 0

    def do(self, task: Callable[[], object]) -> None:
        """Queue *task*."""
        with self._idle:
            self._open += 1
        self._due.put(task)

    def wait(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds for all tasks to end; returns whether they have."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._open, timeout)

    def run(self) -> None:
        while True:
            task = self._due.get()
            try:
                task()
            except BaseException:  # noqa: BLE001 - logged, and there is more to do
                log.get("jobd.worker").exception("background_task_failed", thread=self.name)
            with self._idle:
                self._open -= 1
                self._idle.notify_all()
            self._on_done()
