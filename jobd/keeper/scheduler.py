"""The scheduler: moves jobs that are due from ``retry`` and ``schedule`` to their queues.

It reads a bounded batch, writes the new payloads, and one script moves those that are still in the
set, so that several keepers may race and a crash at any point loses nothing. It takes turns between
the two sets, so that a flood of retries does not hold up scheduled jobs. Client middleware does not
run again here.
"""

from __future__ import annotations

import time

import redis

from jobd import payload
from jobd.background import Loop
from jobd.errors import PayloadError
from jobd.redis import scripts
from jobd.redis.keys import Keys
from jobd.redis.protocol import Argument

BATCH = 200
"""Jobs that one script call moves. It bounds the time for which everybody else must wait."""


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
        self.quiet = False

    def turn(self) -> float | None:
        if self.quiet:
            return None
        now = time.time()
        due = self._due(now)
        full = False
        for source, members in due.items():
            if members:
                self._promote(source, members, now)
                full = full or len(members) == BATCH
        return 0.0 if full else self._until_next()

    def _due(self, now: float) -> dict[str, list[bytes]]:
        """The first jobs that are due, of both sets in one round trip."""
        sources = (self._keys.retry, self._keys.schedule)
        pipeline = self._client.pipeline(transaction=False)
        for source in sources:
            pipeline.zrangebyscore(source, "-inf", repr(now), start=0, num=BATCH)
        return dict(zip(sources, pipeline.execute(), strict=True))

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

    def _until_next(self) -> float:
        """Seconds until the next job is due, at most the poll interval."""
        pipeline = self._client.pipeline(transaction=False)
        for source in (self._keys.retry, self._keys.schedule):
            pipeline.zrange(source, 0, 0, withscores=True)
        scores: list[float] = [score for first in pipeline.execute() for _, score in first]
        return max(0.0, min([self._poll, *(score - time.time() for score in scores)]))
