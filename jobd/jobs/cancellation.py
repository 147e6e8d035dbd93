"""What a running job has to do with being cancelled: the request, and its shields.

There is nothing of this for a job that nobody cancels and that has no shield. One lock decides
between the thread that delivers the request and the job that leaves: an exception that was raised
too late is taken back before anything else of that thread could get it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

from jobd.errors import JobCancelled


def _nothing() -> None:
    pass


class Cancellation:
    """Whether one execution of a job is to be cancelled.

    Attributes:
        requested: somebody has cancelled the job.
        deliveries: how often that has been raised in it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shields = 0
        self._deferred = False
        self._left = False
        self._take_back: Callable[[], None] = _nothing
        self.requested = False
        self.deliveries = 0

    def deliver(self, interrupt: Callable[[], None], take_back: Callable[[], None]) -> bool:
        """Interrupt the job, unless it has ended or has a shield.

        Args:
            interrupt: raises in its thread, or cancels its task.
            take_back: undoes that, as long as it has had no effect.

        Returns:
            Whether it was interrupted.
        """
        with self._lock:
            if self._left:
                return False
            if self._shields:
                self._deferred = True
                return False
            self.deliveries += 1
            self._take_back = take_back
            interrupt()
            return True

    def leave(self) -> None:
        """The job has ended: nothing may be raised any more."""
        with self._lock:
            self._left = True
            self._take_back()

    def raise_shield(self) -> None:
        """Defer what is delivered from now on."""
        # What was raised before this call has been delivered by its beginning.
        before = self.deliveries
        with self._lock:
            self._shields += 1
            if self.deliveries > before:
                self._take_back()
                self._deferred = True

    def lower_shield(self) -> None:
        """Deliver what has been deferred.

        Raises:
            JobCancelled: if it was the last shield, and the job has been cancelled meanwhile.
        """
        with self._lock:
            self._shields -= 1
            if self._shields or not self._deferred:
                return
            self._deferred = False
            self.deliveries += 1
        raise JobCancelled


_making = threading.Lock()


class Execution(Protocol):
    """The part of :class:`jobd.CurrentJob` that is used here."""

    cancellation: Cancellation | None


def cancellation_of(job: Execution) -> Cancellation:
    """That of *job*, which is made where there is none yet."""
    with _making:
        if job.cancellation is None:
            job.cancellation = Cancellation()
        return job.cancellation


def _renew() -> None:
    global _making
    _making = threading.Lock()  # a job has forked, perhaps while another thread held it


os.register_at_fork(after_in_child=_renew)
