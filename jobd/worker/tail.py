"""Reports what happens to this worker's jobs, while somebody listens (``jobctl tail``).

Whoever listens says so again and again on the control channel; each message counts for some
seconds, so that a listener that has died is forgotten. Meanwhile the job threads note what happens
in memory, and a thread of its own publishes that: it is started by the first listener. Nothing of
it is kept in Redis, and where Redis does not take it, it is dropped: jobs never wait for it.

Of more than a few events, those that are not a start or a success are reported first, then the
newest; a report says how many it leaves out.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import redis

from jobd.ambient import clock
from jobd.runtime.child.mainloop import signals_blocked
from jobd.store import control
from jobd.store.control import TAIL_LEASE
from jobd.store.inflight import Claimed
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.store.trouble import reason
from jobd.wire import tail

PAUSE = 0.25
"""Seconds between reports."""

MOST = 50
"""Most events of a report: 200 a second."""

_COMMON = frozenset(("started", "done"))


class Note(NamedTuple):
    """What a job thread has noted; the attributes are those of :class:`jobd.wire.tail.Event`."""

    at: float
    event: str
    job: Claimed
    seconds: float | None
    outcome: str
    error: str


class Notes:
    """What has happened since the last report; bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._common: deque[Note] = deque(maxlen=MOST)
        self._rare: deque[Note] = deque(maxlen=MOST)
        self._count = 0

    def note(
        self, event: str, job: Claimed, began: float = 0.0, outcome: str = "", error: str = ""
    ) -> None:
        """Note what happened to *job*.

        Args:
            began: when it started (monotonic s); 0.0 if that was not measured.
        """
        seconds = time.monotonic() - began if began else None
        made = Note(clock.now(), event, job, seconds, outcome, error)
        with self._lock:
            self._count += 1
            (self._common if event in _COMMON else self._rare).append(made)

    def take(self) -> tuple[list[Note], int]:
        """Remove and return the notes of the next report in order, and how many it leaves out."""
        with self._lock:
            common, rare, count = list(self._common), list(self._rare), self._count
            self._common.clear()
            self._rare.clear()
            self._count = 0
        room = MOST - len(rare)
        taken = sorted(rare + common[len(common) - min(room, len(common)) :], key=_at)
        return taken, count - len(taken)


def _at(note: Note) -> float:
    return note.at


class Tail(Loop):
    """The reports of one worker.

    Args:
        identity: of the worker.
        listen: called with where to note what happens; with None when nobody listens any more.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        identity: str,
        listen: Callable[[Notes | None], None],
    ) -> None:
        super().__init__("tail")
        self._client = client
        self._channel = control.tail_channel(keys, control.database(client))
        self._identity = identity
        self._listen = listen
        self._notes: Notes | None = None
        self._until = -inf

    def heard(self) -> None:
        """Somebody listens. Called by the listener of the control channel."""
        self._until = time.monotonic() + TAIL_LEASE
        if self._notes is not None:
            return
        if not self.is_alive():
            try:
                with signals_blocked():
                    self.start()
            except RuntimeError as error:  # no thread can be started now, or it has been stopped
                self.log.warning("tail_not_started", error=str(error))
        self.wake()

    def turn(self) -> float | None:
        if time.monotonic() >= self._until:
            self._end()
            return None
        if self._notes is None:
            self._notes = Notes()
            self._listen(self._notes)
        elif not self._report(self._notes):
            self._until = -inf
            return 0.0
        return PAUSE

    def run(self) -> None:
        super().run()
        if self._notes is not None:
            self._report(self._notes)
        self._end()

    def _end(self) -> None:
        self._listen(None)
        self._notes = None

    def _report(self, notes: Notes) -> bool:
        """Publish what has been noted; returns whether somebody may have heard it."""
        taken, left_out = notes.take()
        if not taken:
            return True
        events = tuple(
            tail.event(
                note.at,
                note.event,
                note.job.queue,
                note.job.payload,
                note.seconds,
                note.outcome,
                note.error,
            )
            for note in taken
        )
        said = tail.message(self._identity, events, left_out)
        try:
            return bool(self._client.publish(self._channel, said))
        except redis.RedisError as error:
            # Whoever listens says so again. That Redis is down is logged by those who need it.
            if isinstance(error, redis.ResponseError):
                self.log.warning("tail_refused", error=reason(error))
            return False
