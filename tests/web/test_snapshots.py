"""What is read once for everybody."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobd.api.shared import snapshots as module
from jobd.api.shared.snapshots import Snapshots
from jobd.errors import RefusedError, UnavailableError


class Clock:
    """A monotonic one that stands."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_those_who_come_together_wait_for_one_reading() -> None:
    snapshots, gate, made = Snapshots(), threading.Event(), []

    def make() -> int:
        gate.wait(10)
        made.append(1)
        return 7

    with ThreadPoolExecutor(20) as pool:
        found = [pool.submit(snapshots.get, "key", 60.0, make) for _ in range(20)]
        gate.set()
        assert {one.result() for one in found} == {7}
    assert made == [1]


def test_it_is_fresh_for_so_long_and_no_longer(clock: Clock) -> None:
    snapshots, numbers = Snapshots(), iter(range(10))
    assert [snapshots.get("a", 2.0, lambda: next(numbers)) for _ in range(3)] == [0, 0, 0]
    clock.now += 1.9
    assert snapshots.get("a", 2.0, lambda: next(numbers)) == 0
    assert snapshots.get("a", 1.0, lambda: next(numbers)) == 1
    clock.now += 2.1
    assert snapshots.get("a", 2.0, lambda: next(numbers)) == 2
    assert snapshots.get("b", 2.0, lambda: next(numbers)) == 3


def test_who_has_changed_something_sees_it() -> None:
    """Also where somebody had begun to read before."""
    snapshots, begun, changed = Snapshots(), threading.Event(), threading.Event()

    def old() -> str:
        begun.set()
        changed.wait(10)
        return "old"

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(snapshots.get, "key", 60.0, old)
        begun.wait(10)
        snapshots.changed()
        assert snapshots.get("key", 60.0, lambda: "new") == "new"
        changed.set()
        assert reading.result() == "old"
    assert snapshots.get("key", 60.0, lambda: "newer") == "new"


def test_a_server_that_does_not_answer_is_not_asked_by_everybody(clock: Clock) -> None:
    snapshots, asked = Snapshots(), []

    def fails() -> None:
        asked.append(1)
        raise UnavailableError("refused")

    for key in ("a", "a", "b"):
        with pytest.raises(UnavailableError, match="refused"):
            snapshots.get(key, 60.0, fails)
    assert asked == [1]
    clock.now += module.REST + 0.1
    assert snapshots.get("b", 60.0, lambda: 7) == 7
    assert snapshots.get("a", 60.0, lambda: 8) == 8


def test_other_errors_concern_their_own_key() -> None:
    snapshots = Snapshots()

    def refused() -> None:
        raise RefusedError("WRONGTYPE")

    with pytest.raises(RefusedError):
        snapshots.get("a", 60.0, refused)
    assert snapshots.get("b", 60.0, lambda: 7) == 7


def test_it_keeps_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 10)
    snapshots = Snapshots()
    for number in range(100):
        snapshots.get("often", 60.0, lambda: 1)
        snapshots.get(number, 60.0, lambda: 2)

        def fails() -> None:
            raise RefusedError("no")

        with pytest.raises(RefusedError):
            snapshots.get(("fails", number), 60.0, fails)
    assert len(snapshots._known) == 10
    assert snapshots.get("often", 60.0, lambda: 3) == 1


def test_a_value_may_say_itself_for_how_long_it_is_fresh() -> None:
    snapshots, made = Snapshots(), iter([0.0, 60.0, 120.0])

    def get() -> float:
        return snapshots.get("a", lambda seconds: seconds, lambda: next(made))

    assert [get(), get(), get()] == [0.0, 60.0, 60.0]
