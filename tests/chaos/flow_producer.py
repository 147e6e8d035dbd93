"""The producer of batches and workflows: a thread that pushes them while everything breaks."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import redis as redis_py

from jobd import App, Batch
from jobd.api.features.batches import Batches
from jobd.api.session import Session
from jobd.errors import JobdError, JobNotFoundError, UnavailableError
from tests.chaos.flows import BRIEF, JOBS, Flow, Members, Shape, flows, workflow
from tests.chaos.producers import BACKLOG
from tests.chaos.pushes import QUEUES

CALLBACKS = 2
"""Of each batch, for each of its events."""


def jobs_of(app: App) -> Any:
    """The jobs by name, for pushes."""
    made = {name: app.job(name=name, **options)(_nothing) for name, options in JOBS.items()}
    return SimpleNamespace(**made)


def _nothing(*_arguments: Any) -> None: ...


class FlowProducer(threading.Thread):
    """Pushes until it is told to stop.

    Attributes:
        workflows: by their ids.
        batches: the members of each, by its id.
        whole: ids of those that Redis certainly took as a whole.
        refused: pushes that failed.
    """

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(name="flow-producer", daemon=True)
        self.workflows: dict[str, Flow] = {}
        self.batches: dict[str, Members] = {}
        self.whole: set[str] = set()
        self.refused = 0
        self._app = App()
        self._app.configure(url)
        self.client = self._app.client
        self._jobs = jobs_of(self._app)
        self._flows = flows(seed)
        self._ending = threading.Event()

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        # When it pushes depends on the machine, what it pushes does not.
        chance = random.Random(self.name)
        flow: Flow | None = None
        while not self._ending.wait(chance.expovariate(1 / 0.3)):
            try:
                if self._backlog() < BACKLOG:
                    flow = flow or next(self._flows)
                    # A workflow that may have been stored is pushed once more: once counts.
                    again, flow = flow, None if flow.shape is Shape.BATCH else flow
                    self._push(again)
                    flow = None
            except (UnavailableError, redis_py.RedisError):
                self.refused += 1

    def _backlog(self) -> int:
        return sum(int(self.client.redis.llen(f"queue:{queue}")) for queue in QUEUES)

    def _push(self, flow: Flow) -> None:
        if flow.members is None:
            self.workflows[flow.id] = flow
            workflow(flow, self._jobs).perform_async()
            self.whole.add(flow.id)
            return
        pushed: dict[str, Members] = {}
        try:
            self._push_batch(flow.queue, flow.members, pushed)
            self.whole |= pushed.keys()
        finally:
            self.batches |= pushed
        for bid, members in pushed.items():
            if members.cancelled:
                with suppress(JobNotFoundError):
                    self._all().cancel(bid)

    def _push_batch(self, queue: str, members: Members, pushed: dict[str, Members]) -> None:
        jobs, batch = self._jobs, Batch(client=self.client)
        pushed[batch.bid] = members
        for _ in range(CALLBACKS):
            for on in (batch.on_success, batch.on_complete, batch.on_death):
                on(jobs.called)
        with batch:
            for number in range(members.parts):
                jobs.part.set(queue=queue).perform_async(number, 5)
            for _ in range(members.falls):
                jobs.falls.set(queue=queue).perform_async()
            for _ in range(members.brief):
                jobs.brief.set(queue=queue, expires_in=BRIEF).perform_async()
            for count in members.opens:
                jobs.opens.set(queue=queue).perform_async(count)
            for one in members.inner:
                self._push_batch(queue, one, pushed)

    def close(self) -> int:
        """Close the blocks whose producers have died, as a user does; returns how many."""
        closed = 0
        keys = self._session().keys
        found: Any = self.client.redis.zrange(keys.batches_open, 0, -1)
        for bid in found:
            with suppress(JobdError):
                closed += self._all().close(bid.decode())
        return closed

    def _session(self) -> Session:
        return Session(self.client.redis, self.client.prefix)

    def _all(self) -> Batches:
        return Batches(self._session())
