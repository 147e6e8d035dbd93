"""Claimed jobs that wait too long for a thread."""

from __future__ import annotations

import pytest

from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.store.inflight import Claimed
from jobd.worker.fetch import stale
from jobd.worker.fetch.stale import LIMIT, Stale
from jobd.worker.run.pool import Pool


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stale, "time", made)
    return made


class Waiting:
    """A pool whose threads are played by the test."""

    def __init__(self) -> None:
        self.workplace = Workplace(2, "test")
        self.page: Page = self.workplace.page
        self.pool = Pool(2, self.page)
        self.stale = Stale(self.pool)

    def dispatch(self, *sequences: int) -> None:
        for sequence in sequences:
            self.pool.queue.put(Claimed(sequence, "default", b"{}"))
        self.stale.dispatched(sequences[-1])

    def start(self, thread: int = 0) -> None:
        self.page.words[self.page.offset(thread)] = self.pool.queue.get_nowait().sequence


def test_nothing_waits(clock: Clock) -> None:
    waiting = Waiting()
    waiting.dispatch(1)
    waiting.start()
    clock.now += 10
    assert not waiting.stale.overdue()


def test_a_job_is_overdue_after_the_limit_and_not_before(clock: Clock) -> None:
    waiting = Waiting()
    waiting.dispatch(1, 2)
    waiting.start()
    clock.now += LIMIT
    assert not waiting.stale.overdue()
    clock.now += 0.001
    assert waiting.stale.overdue()


def test_a_batch_that_has_started_is_not_held_against_the_next(clock: Clock) -> None:
    waiting = Waiting()
    waiting.dispatch(1, 2)
    clock.now += 0.2
    waiting.dispatch(3)
    waiting.start(0)
    waiting.start(1)
    clock.now += 0.2
    assert not waiting.stale.overdue()
    clock.now += 0.1
    assert waiting.stale.overdue()


def test_what_was_given_back_is_forgotten(clock: Clock) -> None:
    waiting = Waiting()
    waiting.dispatch(1, 2)
    clock.now += 1
    assert waiting.stale.overdue()
    waiting.pool.take_back()
    assert not waiting.stale.overdue()
    waiting.dispatch(3)
    assert not waiting.stale.overdue()
