"""What a push after the commit costs above a push, of the time of the processor: not more than two
empty transactions, of which each takes about 20 µs on a quiet machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from jobd import App
from jobd.contrib.sqlalchemy import after_commit
from jobd.jobs.transports import Source, replaced

pytestmark = pytest.mark.alone

PUSHES = 20
"""Few enough for some runs to be interrupted by nobody, on a busy machine, too."""


class Nothing:
    """A Redis that costs nothing."""

    def enqueue(self, queues: object) -> None: ...
    def schedule(self, due: object) -> None: ...
    def push(self, jobs: Any, now: float) -> Any: ...
    def start(self, plan: object) -> None: ...
    def holder(self, key: str) -> str | None: ...

    # As a replacement.
    def transport(self, _client: Source) -> Any:
        return self

    def atransport(self, _client: Source) -> None:
        return None

    def redis(self, _client: Source) -> None:
        return None


def best(run: Callable[[], None]) -> float:
    """Seconds of the processor for one of the pushes of *run*."""
    found = []
    for _ in range(300):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return min(found) / PUSHES


def test_a_push_after_the_commit() -> None:
    app = App()
    app.configure("redis://127.0.0.1:1/0")
    job = app.job(name="Add")(lambda number: number)

    def at_once() -> None:
        for number in range(PUSHES):
            job.perform_async(number)

    def together() -> None:
        with Session() as session, session.begin():
            for number in range(PUSHES):
                after_commit(session, job).perform_async(number)

    def alone() -> None:
        for number in range(PUSHES):
            with Session() as session, session.begin():
                after_commit(session, job).perform_async(number)

    def only_the_session() -> None:
        for _ in range(PUSHES):
            with Session() as session, session.begin():
                pass

    with replaced(Nothing()):
        push, session = best(at_once), best(only_the_session)
        many, one = best(together) - push, best(alone) - push - session
    print(f"a push {push * 1e6:.1f} µs; {many * 1e6:.1f} µs more; alone {one * 1e6:.1f} µs more")
    print(f"an empty transaction {session * 1e6:.1f} µs")
    assert many < session
    assert one < 2 * session
