"""The threads that decide how failed async jobs end.

The decision runs code of the application (``retry_in``, error and death handlers), which may block:
not on the event loop, and not in a job thread, which would have to be free.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from jobd.runtime.log import log

THREADS = 4
"""Slow handlers hold up the ends of other failed jobs only if as many run at the same time."""


class Deciders:
    """A few threads that call functions, in order."""

    def __init__(self) -> None:
        self._due: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._started = False
        self.idle: list[str] = []
        """Names of the threads that have nothing to do."""

    def start(self) -> None:
        """Start the threads, unless they run."""
        if not self._started:
            self._started = True
            for number in range(THREADS):
                name = f"decider-{number}"
                threading.Thread(target=self._run, name=name, daemon=True).start()

    def do(self, function: Callable[[], object]) -> None:
        """Have one of them call *function*."""
        self._due.put(function)

    def _run(self) -> None:
        name = threading.current_thread().name
        while True:
            self.idle.append(name)
            function = self._due.get()
            self.idle.remove(name)
            try:
                function()
            except BaseException:  # noqa: BLE001 - a bug of ours; logged, and there is more to do
                log.get("jobd.tasks").exception("async_job_not_decided")
            del function
