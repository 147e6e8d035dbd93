"""Whether a loop turns."""

from __future__ import annotations

import threading
import time

from jobd.store.loops import Loop


class Sleeper(Loop):
    """Turns once in ten seconds; its turn lasts until it may go on."""

    def __init__(self, pause: float | None) -> None:
        super().__init__("sleeper")
        self.pause = pause
        self.began, self.may_end = threading.Event(), threading.Event()
        self.ended = threading.Event()

    def turn(self) -> float | None:
        self.began.set()
        self.may_end.wait(30)
        return self.pause

    def wait_asleep(self) -> None:
        while self.silent(time.monotonic()) > 0:
            time.sleep(0.001)


def test_a_turn_that_lasts_is_silence() -> None:
    loop = Sleeper(10.0)
    loop.start()
    assert loop.began.wait(30)
    now = time.monotonic()
    assert loop.silent(now + 70) >= 70
    loop.may_end.set()
    loop.wait_asleep()
    # It sleeps for ten seconds, and then it is late.
    assert loop.silent(time.monotonic()) == 0
    assert 50 < loop.silent(time.monotonic() + 70) < 70
    loop.stop(30)


def test_one_that_sleeps_until_it_is_woken_is_never_late() -> None:
    loop = Sleeper(None)
    loop.may_end.set()
    loop.start()
    loop.wait_asleep()
    assert loop.silent(time.monotonic() + 1e6) == 0
    loop.stop(30)
