"""The scheduler: moves jobs that are due from ``retry`` and ``schedule`` to their queues.

It reads a bounded batch, writes the new payloads, and one script moves those that are still in the
set, so that several keepers may race and a crash at any point loses nothing. It takes turns between
the two sets, so that a flood of retries does not hold up scheduled jobs. Client middleware does not
run again here.
"""

from __future__ import annotations

import time
from typing import Any

import redis

from jobd import payload
from jobd.background import Loop
from jobd.errors import PayloadError
from jobd.redis import scripts
from jobd.redis.keys import Keys
from jobd.redis.protocol import Argument

BATCH = 200
"""Jobs that one script call moves. It bounds the time for which everybody else must wait."""

BYTES = 4 * 1024 * 1024
"""About what they have together. No command tells the size of a job before it is read, so each
batch is as large as the one before it promises."""

FIRST = 10
"""Jobs of a batch when nothing is known about their size."""


class Scheduler(Loop):
    """See the module.

    Args:
        poll: most seconds between looks at the sets; others may have put something in.
    """

    def __init__(self, client: redis.Redis, keys: Keys, poll: float) -> None:
        super().__init__("scheduler", client)
        self._client = client
        self._keys = keys
        self._poll = poll
        self._most: dict[str, int] = {}
        self.quiet = False

    def turn(self) -> float | None:
        if self.quiet:
            return None
        now = time.time()
        first = self._first_times()
        due = [source for source, at in first.items() if at <= now]
        for source in due:
            self._promote(source, self._due(source, now), now)
        if due:
            return 0.0  # There may be more, and what comes after them is not known yet.
        return max(0.0, min([self._poll, *(at - now for at in first.values())]))

    def _first_times(self) -> dict[str, float]:
        """When the first job of each set that has one is due, in one round trip."""
        sources = (self._keys.retry, self._keys.schedule)
        pipeline = self._client.pipeline(transaction=False)
        for source in sources:
            pipeline.zrange(source, 0, 0, withscores=True)
        found = zip(sources, pipeline.execute(), strict=True)
        return {source: float(first[0][1]) for source, first in found if first}

    def _due(self, source: str, now: float) -> list[bytes]:
        """The first jobs of *source* that are due."""
        most = self._most.pop(source, FIRST)
        members: Any = self._client.zrangebyscore(source, "-inf", repr(now), start=0, num=most)
        # Where there are no more, the next ones may be of another kind.
        if len(members) == most:
            fitting = BYTES * most // (sum(map(len, members)) + 1)
            self._most[source] = max(1, min(BATCH, fitting))
        return list(members)

    def _promote(self, source: str, members: list[bytes], now: float) -> None:
        queues: dict[str, int] = {}
        moves: list[Argument] = []
        for member in members:
            try:
                queue, pushed = payload.with_enqueued(member, now)
            except PayloadError as error:
                self.log.error("job_malformed", source=source, error=str(error))
                moves += (member, 0, member)
            else:
                moves += (member, queues.setdefault(queue, len(queues) + 1), pushed)
        keys = [source, self._keys.queues, self._keys.dead, *map(self._keys.queue, queues)]
        moved = scripts.PROMOTE(self._client, keys, [repr(now), len(queues), *queues, *moves])
        self.log.debug("jobs_promoted", source=source, jobs=moved)
