"""Signals as data."""

from __future__ import annotations

import select
import signal
from collections.abc import Iterator
from signal import Signals

import pytest

from jobd.runtime.process.signals import CHILD_SIGNALS, MASTER_SIGNALS, ORDER, SignalInbox


@pytest.fixture
def inbox() -> Iterator[SignalInbox]:
    # Not CHLD: other tests' helpers rely on its default.
    handled = MASTER_SIGNALS - {Signals.SIGCHLD, Signals.SIGINT}
    before = {signum: signal.getsignal(signum) for signum in handled}
    box = SignalInbox(handled)
    yield box
    box.close()
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_each_signal_comes_once_and_the_most_urgent_first(inbox: SignalInbox) -> None:
    for signum in (Signals.SIGUSR2, Signals.SIGHUP, Signals.SIGUSR2, Signals.SIGTERM):
        signal.raise_signal(signum)
    assert inbox.read() == [Signals.SIGTERM, Signals.SIGHUP, Signals.SIGUSR2]
    assert inbox.read() == []


def test_a_signal_wakes_a_select(inbox: SignalInbox) -> None:
    signal.raise_signal(Signals.SIGUSR1)
    ready, _, _ = select.select([inbox], [], [], 0)
    assert ready == [inbox]
    assert inbox.read() == [Signals.SIGUSR1]
    assert select.select([inbox], [], [], 0)[0] == []


def test_a_flood_hides_nothing(inbox: SignalInbox) -> None:
    for _ in range(5000):
        signal.raise_signal(Signals.SIGUSR2)
    signal.raise_signal(Signals.SIGTERM)
    assert inbox.read() == [Signals.SIGTERM, Signals.SIGUSR2]


def test_the_order_knows_every_signal() -> None:
    assert frozenset(ORDER) == MASTER_SIGNALS
    assert CHILD_SIGNALS < MASTER_SIGNALS
