"""Hang detection with a clock of its own: every row of its table, and what must not be taken for a
hang."""

from __future__ import annotations

import pytest

from jobd.master.children.child import Reason, Stage
from tests.unit.master.conftest import MakeScene


def test_nothing_is_said_of_those_that_beat(scene: MakeScene) -> None:
    one = scene()
    one.pass_time(1000)
    assert one.log.events == []
    assert one.signals == []


def test_after_fifteen_seconds_of_silence_it_is_dumped_once(scene: MakeScene) -> None:
    one = scene(worker_timeout=0.0)
    child = one.worker(0)
    one.silent.add(child)
    one.pass_time(14)
    assert one.log.events == []
    one.pass_time(1)
    assert one.dumped == ["worker.0"]
    assert child.trouble == "does not react"
    one.pass_time(100)
    assert one.dumped == ["worker.0"]
    assert one.log.count("child_silent") == 1


def test_it_is_dumped_again_only_after_five_minutes(scene: MakeScene) -> None:
    one = scene(worker_timeout=0.0)
    child = one.worker(0)
    for _ in range(11):
        one.silent.add(child)
        one.pass_time(20)
        one.silent.clear()
        one.pass_time(10)
        assert child.trouble == ""
    assert one.log.count("child_silent") == 11
    assert one.dumped == ["worker.0"] * 2


def test_a_hung_process_is_dumped_and_ended_step_by_step(scene: MakeScene) -> None:
    one = scene()
    child = one.worker(0)
    one.silent.add(child)
    one.pass_time(59)
    assert one.dumped == ["worker.0"]
    one.pass_time(1)
    assert one.dumped == ["worker.0"] * 2, "where it is, once more"
    one.pass_time(1)
    assert one.signals == []
    one.pass_time(1)
    assert one.signals == [("worker.0", "TERM"), ("worker.0", "CONT")]
    assert (child.reason, child.stage, child.planned) == (Reason.HUNG, Stage.STOPPING, False)
    one.pass_time(4)
    assert len(one.signals) == 2
    one.pass_time(1)
    assert one.signals[2:] == [("worker.0", "ABRT")]
    one.pass_time(5)
    assert one.signals[3:] == [("worker.0", "KILL")]
    one.pass_time(100)
    assert len(one.signals) == 4
    assert len(one.dumped) == 2
    assert one.log.count("child_hung") == 1
    assert {role for role, _ in one.signals} == {"worker.0"}


def test_without_a_limit_it_is_never_ended(scene: MakeScene) -> None:
    one = scene(worker_timeout=0.0)
    one.silent.add(one.worker(0))
    one.pass_time(100_000)
    assert one.signals == []


def test_a_short_limit_has_a_short_alarm(scene: MakeScene) -> None:
    one = scene(worker_timeout=4.0)
    one.silent.add(one.worker(0))
    one.pass_time(2)
    assert one.log.count("child_silent") == 1
    one.pass_time(2)
    assert one.log.count("child_hung") == 1


def test_one_that_reacts_before_the_term_is_left_alone(scene: MakeScene) -> None:
    one = scene()
    child = one.worker(0)
    one.silent.add(child)
    one.pass_time(60)
    assert child.trouble == "hung"
    one.silent.clear()
    one.pass_time(100)
    assert one.signals == []
    assert (child.reason, child.trouble) == (None, "")


def test_one_that_reacts_to_the_term_gets_the_usual_time(scene: MakeScene) -> None:
    one = scene(timeout=25.0)
    child = one.worker(0)
    one.silent.add(child)
    one.pass_time(62)
    one.silent.clear()
    one.pass_time(20)
    assert [name for _, name in one.signals][-2:] == ["TERM", "CONT"]
    assert child.reason is Reason.HUNG
    assert 0 < child.kill_at - one.now < 25 + 11


@pytest.mark.parametrize(("state", "tracer"), [("T", 0), ("t", 7), ("S", 7)])
def test_a_stopped_process_is_only_reported(scene: MakeScene, state: str, tracer: int) -> None:
    one = scene()
    child = one.worker(0)
    one.silent.add(child)
    one.state, one.tracer = state, tracer
    one.pass_time(3600)
    assert one.signals == []
    assert one.dumped == []
    assert child.trouble == "stopped"
    assert [event for event, _ in one.log.events] == ["child_stopped"]
    # It is let go, and has not had the time to beat when the master looks.
    one.state, one.tracer = "R", 0
    one.pass_time(1)
    assert child.trouble == ""
    one.pass_time(10)
    assert one.signals == []
    # And is it hung then, it is found out in the usual time.
    one.pass_time(52)
    assert one.log.count("child_hung") == 1


def test_one_that_waits_in_the_kernel_gets_twice_the_time(scene: MakeScene) -> None:
    one = scene()
    one.silent.add(one.worker(0))
    one.state = "D"
    one.pass_time(119)
    assert one.signals == []
    assert one.log.count("child_waits_in_kernel") == 1
    one.pass_time(3)
    assert ("worker.0", "TERM") in one.signals


def test_a_boot_has_a_limit_of_its_own(scene: MakeScene) -> None:
    one = scene()
    one.worker(0).stage = Stage.BOOTING
    one.silent.add(one.worker(0))
    one.pass_time(1000)
    assert one.signals == []


def test_an_end_that_has_a_deadline_is_left_to_it(scene: MakeScene) -> None:
    """Giving back jobs while Redis is away blocks the main thread for some seconds."""
    one = scene(worker_timeout=3.0)
    child = one.worker(0)
    child.stage = Stage.STOPPING
    child.kill_at = one.now + 11
    one.silent.add(child)
    one.pass_time(11)
    assert one.signals == []


def test_a_silent_fetcher_has_its_worker_recycled(scene: MakeScene) -> None:
    one = scene()
    child = one.worker(0)
    one.fetched_at[child] = one.now
    one.pass_time(59)
    assert one.log.events == []
    one.pass_time(100)
    assert one.log.count("fetcher_silent") == 1
    assert one.dumped == ["worker.0"]
    assert one.slots.workers[0].replacement is not None
    one.ready()
    one.pass_time(1)
    assert one.slots.stopped == [("worker.0", Reason.RECYCLE)]
    assert one.worker(0) is not child


def test_a_fetcher_may_wait_for_redis_however_short_the_limit(scene: MakeScene) -> None:
    one = scene(worker_timeout=3.0)
    child = one.worker(0)
    for second in range(60):
        one.fetched_at[child] = one.now - second % 13
        one.pass_time(1)
    assert one.log.events == []


def test_a_pause_of_the_master_is_nobodys_fault(scene: MakeScene) -> None:
    """SIGSTOP of all, or a VM that is moved: all beats are old, and nobody is hung."""
    one = scene()
    children = {one.worker(0), one.worker(1)}
    one.now += 300
    one.silent |= children
    one.pass_time(1)
    assert one.log.events == [("master_was_paused", {"seconds": 301.0})]
    assert one.slots.postponed == 301.0
    one.pass_time(10)
    one.silent.clear()
    one.pass_time(100)
    assert one.signals == []
    assert len(one.log.events) == 1


def test_after_a_pause_the_hung_are_found_all_the_same(scene: MakeScene) -> None:
    one = scene()
    one.silent.add(one.worker(1))
    one.now += 300
    one.pass_time(61)
    assert one.log.count("child_hung") == 1
    one.pass_time(5)
    assert {role for role, _ in one.signals} == {"worker.1"}
