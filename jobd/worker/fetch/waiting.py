"""How an idle worker waits for jobs: by blocking claims (blocking.py), by a watch (tracking.py), or
by polling if the server allows neither.

Blocking claims wake one worker and start the job at once, but each needs a connection, and three
commands every time it is started and cancelled. So a worker with few queues uses only them, one
with many queues never does, and one in between watches first and starts them after a lull: this
bounds their cost at any rate of jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import redis

from jobd.runtime.ipc.scoreboard import MOST_WAITS, Page
from jobd.runtime.log import log
from jobd.runtime.process.wakeup import Bell
from jobd.store.inflight import InFlight
from jobd.store.pipeline import Wire
from jobd.worker.fetch.blocking import BLOCK, Arrival, CannotBeCalledBack, Waits
from jobd.worker.fetch.refused_connections import POLL
from jobd.worker.fetch.tracking import Watch

FEW = 3
"""Most queues for which blocking claims are used all the time."""

LULL = 1.0
"""Seconds without a job after which they are used for more queues."""

BUSY_BEAT = 0.1
"""Seconds between beats of a worker that runs jobs and has blocking claims for more. If it stops
beating, other workers take what those deliver (see jobd/master/health/rescue.py)."""


class Waiting:
    """Waits for jobs on behalf of one idle worker.

    Attributes:
        queues: those with claim lists, into which blocking claims deliver.
    """

    def __init__(
        self,
        client: redis.Redis,
        inflight: InFlight,
        queues: Sequence[str],
        bell: Bell,
        page: Page,
    ) -> None:
        self.queues = tuple(queues) if len(queues) <= MOST_WAITS else ()
        self._log = log.get("jobd.fetcher")
        self._waits = Waits(client, inflight, self.queues, bell, page)
        self._watch = Watch(client, inflight, queues, bell)
        self._few = 0 < len(self.queues) <= FEW
        self._may_block = bool(self.queues)
        self._way: Waits | Watch = self._waits if self._few else self._watch
        self._quiet_since = 0.0

    @property
    def armed(self) -> bool:
        """Whether a claim is waiting or the queues are watched."""
        return self._way.armed

    def covers(self, paused: Collection[str]) -> bool:
        """Whether all queues that are not paused are empty and the next job will be noticed."""
        return self._way.covers(paused)

    def arm(self, paused: Collection[str], numbers: Callable[[int], int], *, busy: bool) -> float:
        """Wait for jobs in every queue that is not paused, as far as the server allows.

        Args:
            numbers: reserves that many sequence numbers; returns the first.
            busy: jobs are running here.

        Returns:
            the seconds after which to call it again.

        Raises:
            redis.RedisError: a connection failed.
        """
        now = time.monotonic()
        if not self.covers(paused):
            self._quiet_since = now
        lull = self._quiet_since + LULL - now
        refusal = self._way.refusal
        refused = refusal.active
        try:
            if self._may_block and self._blocks(paused, lull):
                self._waits.arm(paused, numbers)
            else:
                self._watch.arm(paused, busy=busy)
        except CannotBeCalledBack as error:
            self._log.warning("queues_watched", error=str(error))
            self._waits.close()
            self._may_block = self._few = False
            self._way = self._watch
            return 0.0
        if not self.covers(paused):
            if refused:
                refusal.tell()
                return POLL
            # If the server is down, the main connection will notice.
            return 0.0
        if self._way is self._waits:
            return BUSY_BEAT if busy else BLOCK
        return lull if self._may_block and lull > 0 else BLOCK

    def _blocks(self, paused: Collection[str], lull: float) -> bool:
        """Whether blocking claims are to be used now."""
        if self._way is self._watch and lull <= 0 and self._waits.open(paused):
            self._watch.disarm()
            self._way = self._waits
        return self._way is self._waits

    def disarm(self, command: Wire) -> list[Arrival]:
        """Stop waiting, over the *command* connection; returns what arrived before."""
        self._watch.disarm()
        arrivals = self._waits.disarm(command)
        if not self._few:
            self._way = self._watch
        return arrivals

    def sleep(self, seconds: float) -> list[Arrival]:
        """Sleep until the bell rings, a job arrives, a queue has one or *seconds* have passed.

        Raises:
            redis.RedisError: a connection failed.
        """
        if self._way is self._waits:
            return self._waits.sleep(seconds)
        self._watch.sleep(seconds)
        return []

    def close(self) -> bool:
        """Close the connections. Jobs that a claim has delivered in the meantime stay in its list.

        Returns:
            Whether it is certain that there are no such jobs.
        """
        self._watch.close()
        return self._waits.close()
