"""Producers: threads that push jobs of all kinds while everything breaks."""

from __future__ import annotations

import itertools
import random
import threading
import time

import redis as redis_py

from jobd.client import Client
from jobd.errors import UnavailableError

BACKLOG = 1500
"""Jobs in the queues above which producers wait."""

QUEUES = ("high", "default", "low")


class Producer(threading.Thread):
    """Pushes until it is told to stop.

    Attributes:
        stored: jids that Redis certainly took.
        refused: pushes that failed; what became of their jobs, only Redis knows.
    """

    def __init__(self, number: int, url: str, seed: int) -> None:
        super().__init__(name=f"producer-{number}", daemon=True)
        self.stored: list[str] = []
        self.refused = 0
        self._number = number
        self._client = Client(url)
        self._redis = redis_py.Redis.from_url(url, protocol=2, socket_timeout=5)
        self._chance = random.Random(f"{seed}.{number}")
        self._count = itertools.count()
        self._ending = threading.Event()

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        while not self._ending.wait(self._chance.expovariate(1 / 0.05)):
            try:
                if sum(int(self._redis.llen(f"queue:{queue}")) for queue in QUEUES) < BACKLOG:
                    self._push()
            except (UnavailableError, redis_py.RedisError):
                self.refused += 1

    def _push(self) -> None:
        chance = self._chance
        queue = chance.choice(QUEUES)
        duration = chance.choices([0, 5, 50, 400, 2500], [40, 30, 20, 9, 1])[0]
        kind = chance.random()
        item: dict[str, object] = {"class": "work", "args": [duration], "queue": queue}
        if kind < 0.25:
            calls = [[chance.choice([0, 1, 5, 20])] for _ in range(chance.randrange(2, 60))]
            self._keep(*self._client.push_bulk({**item, "args": calls}))
            return
        if kind < 0.45:
            item["at"] = time.time() + chance.uniform(0.2, 8)
        elif kind < 0.53:
            item |= {"class": "flaky", "args": [duration, 1]}
        elif kind < 0.56:
            item |= {"class": "doomed", "retry": 0}
        elif kind < 0.59:
            item["class"] = "unwanted"
        # A name of its own, so that nobody needs to be told it when the answer is lost.
        item["jid"] = f"{self._number:04x}{next(self._count):020x}"
        self._keep(self._client.push(item))

    def _keep(self, *jids: str | None) -> None:
        self.stored += [jid for jid in jids if jid is not None]
