"""Producers: threads that push jobs of all kinds while everything breaks."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress

import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobd import cancel
from jobd.api import Api
from jobd.errors import JobdError, UnavailableError
from jobd.jobs.client import Client
from tests.chaos.pushes import PATIENT, QUEUES, Fate, Push, pushes

_CANCEL_SECONDS = 60.0

BACKLOG = 1500
"""Jobs in the queues above which producers wait."""


class Producer(threading.Thread):
    """Pushes until it is told to stop.

    Attributes:
        stored: tokens of jobs that Redis certainly took.
        fates: how they are to end, by token; those of pushes that failed too, for what became of
            these, only Redis knows.
        refused: pushes that failed.
    """

    def __init__(self, number: int, url: str, seed: int) -> None:
        super().__init__(name=f"producer-{number}", daemon=True)
        self.stored: list[str] = []
        self.fates: dict[str, Fate] = {}
        self.refused = 0
        self._client = Client(url)
        # What has no answer may have been done, so nothing is tried a second time.
        self._redis = redis_py.Redis.from_url(
            url, protocol=2, socket_timeout=5, retry=Retry(NoBackoff(), 0)
        )
        self._pushes = pushes(seed, number)
        self._api = Api(url)
        self._to_cancel: list[str] = []
        self._pushed: dict[str, float] = {}
        self._ending = threading.Event()

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        # When it pushes depends on the machine, what it pushes does not.
        chance = random.Random(self.name)
        while not self._ending.wait(chance.expovariate(1 / 0.05)):
            try:
                if sum(int(self._redis.llen(f"queue:{queue}")) for queue in QUEUES) < BACKLOG:
                    self._push(next(self._pushes))
                if self._to_cancel and chance.random() < 0.2:
                    self._cancel(chance.randrange(len(self._to_cancel)))
            except (UnavailableError, redis_py.RedisError):
                self.refused += 1

    def cancel_rest(self) -> None:
        """Cancel what is left to cancel, once nothing breaks any more."""
        give_up = time.monotonic() + _CANCEL_SECONDS
        while self._to_cancel and time.monotonic() < give_up:
            with suppress(JobdError):
                self._cancel(0)

    def _cancel(self, at: int) -> None:
        """Cancel a job. One that is nowhere has met another end, or never was stored; while the
        server is away it may also run to its end."""
        jid = self._to_cancel[at]
        began = time.monotonic()
        known = cancel(jid, api=self._api) != "unknown"
        if known and began < self._pushed[jid] + PATIENT / 2:
            self.fates[jid] = Fate.CANCELLED
        if known or self._ending.is_set():
            self._to_cancel.remove(jid)

    def _push(self, push: Push) -> None:
        if push.item is None:
            self.fates[push.token] = push.fate
            self._push_as_others_do(push)
            self.stored.append(push.token)
        elif push.token:
            self.fates[push.token] = push.fate
            if push.fate is Fate.PATIENT:
                self._to_cancel.append(push.token)
                self._pushed[push.token] = time.monotonic()
            due = {} if push.delay is None else {"at": time.time() + push.delay}
            # None: it is unique, and another one like it is there.
            if self._client.push({**push.item, **due}) is not None:
                self.stored.append(push.token)
        else:
            self.stored += filter(None, self._client.push_bulk(push.item))

    def _push_as_others_do(self, push: Push) -> None:
        if push.delay is None:
            self._redis.sadd("queues", push.queue)
            self._redis.lpush(f"queue:{push.queue}", push.raw)
        else:
            self._redis.zadd("schedule", {push.raw: time.time() + push.delay})
