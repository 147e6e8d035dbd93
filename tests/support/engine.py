"""A worker's engine inside the test process: the real fetcher, threads and executor, no master.

Several of them may run side by side, as different owners on the same server.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import redis as redis_py

from jobd.jobs.app import App
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.settings.daemon import Config, QueueSpec
from jobd.store.connection import connect
from jobd.store.inflight import Claimed
from jobd.store.keys import Keys
from jobd.worker import engine as engine_of_worker
from jobd.worker.engine import Owner
from jobd.worker.run.pool import JobThread

KEYS = Keys()
DEADLINE = 20.0


def until(condition: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
    """Wait for *condition*, which must become true within *seconds*."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)


ran: deque[Any] = deque()
"""What ``Note`` has been called with."""

gates: dict[str, threading.Event] = {}
"""``Hold`` waits for the gate of its name."""

held: deque[str] = deque()
"""The gates at which a ``Hold`` has arrived."""


def note(value: Any) -> None:
    ran.append(value)


def hold(gate: str) -> None:
    held.append(gate)
    assert gates[gate].wait(60)


def nap(value: Any, seconds: float) -> None:
    time.sleep(seconds)
    ran.append(value)


def end() -> None:
    """End the job thread that runs it."""
    thread = threading.current_thread()
    assert isinstance(thread, JobThread)
    thread.cut_short = True
    raise RuntimeError


JOBS = (note, hold, nap, end)
"""They belong to the application of every engine, as ``engine.Note`` and so on."""


def gate(name: str) -> threading.Event:
    gates[name] = threading.Event()
    return gates[name]


def payload(name: str, *args: Any, **fields: Any) -> bytes:
    """Bytes that only a careless hand would write so: who changes them is found out."""
    fields = {"class": f"engine.{name}", "args": list(args), "retry": True, **fields}
    return json.dumps({"jid": f"jid-{args[:1]}", **fields}, separators=(" ,", " : ")).encode()


def push(client: redis_py.Redis, queue: str, *raws: bytes) -> None:
    client.sadd(KEYS.queues, queue)
    for first in range(0, len(raws), 1000):
        client.lpush(KEYS.queue(queue), *raws[first : first + 1000])


def waiting(client: redis_py.Redis, queue: str = "default") -> list[bytes]:
    """The payloads of a queue, next one first."""
    found: Any = client.lrange(KEYS.queue(queue), 0, -1)
    return list(reversed(found))


class Engine(engine_of_worker.Engine):
    """One owner."""

    def __init__(
        self,
        url: str,
        *,
        identity: str = "host:1:engine",
        queues: Iterable[tuple[str, int]] = (("default", 0),),
        threads: int = 2,
        coroutines: int = 5,
        timeout: float = 5.0,
        app: App | None = None,
        **settings: Any,
    ) -> None:
        self.config = Config(
            queues=tuple(QueueSpec(*queue) for queue in queues),
            concurrency=threads,
            async_concurrency=coroutines,
            redis=url,
            **settings,
        )
        self.identity = identity
        self._workplace = Workplace(threads + coroutines, "engine")
        self.page = self._workplace.page
        self.app = App() if app is None else app
        for function in JOBS:
            self.app.job(name=f"engine.{function.__name__.title()}")(function)
        self.idle = threading.Event()
        self._client = connect(url, timeout=timeout)
        owner = Owner(self._client, KEYS, identity)
        super().__init__(owner, self.config, self.page, self.idle.set, lambda: None)
        self.load(self.app)

    def start(self, on_jobs: Callable[[], None] = lambda: None) -> Engine:
        self.start_threads(on_jobs)
        self.fetcher.start()
        return self

    def close(self) -> None:
        """End it, its threads and its sockets."""
        self.fetcher.close(10)
        assert not self.fetcher.is_alive()
        for _ in self.pool._threads:
            self.pool.queue.put(Claimed(1, "", payload("End")))
        for thread in self.pool._threads:
            thread.join(10)
            assert not thread.is_alive()
        self.release()

    def release(self) -> None:
        """Close what the end of the process would."""
        self.fetcher._waits._waits._selector.close()
        self.fetcher._waits._watch._selector.close()
        self.fetcher._bell.close()
        self._client.close()
        if (loop := self.loop.running) is not None:
            assert self.loop.close(10) == []
            until(lambda: not loop.is_running(), "the asyncio thread ended")
            loop.close()


@contextmanager
def engine(url: str, **options: Any) -> Iterator[Engine]:
    """A running engine; afterwards every gate is opened and it has ended."""
    made = Engine(url, **options).start()
    try:
        yield made
    finally:
        for one in gates.values():
            one.set()
        made.close()


def kill_connections(client: redis_py.Redis) -> None:
    """Break every connection to the server but that of *client*."""
    untyped: Any = client
    untyped.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def connections(client: redis_py.Redis) -> set[str]:
    """The ids of all that there are; those of other tests may be about to be closed."""
    found: Any = client.client_list()
    return {one["id"] for one in found}


def blocked(client: redis_py.Redis) -> int:
    """How many connections wait for a job."""
    found: Any = client.info("clients")
    return int(found["blocked_clients"])


def settled(client: redis_py.Redis, identity: str = "host:1:engine") -> bool:
    """Whether nothing is in flight."""
    return not client.exists(KEYS.inflight(identity))


def processed(client: redis_py.Redis) -> int:
    value: Any = client.get(KEYS.processed)
    return int(value or 0)


def failed(client: redis_py.Redis) -> int:
    value: Any = client.get(KEYS.failed)
    return int(value or 0)
