"""Recycling and memory limits with a clock of their own."""

from __future__ import annotations

import pytest

from jobd.master.children.child import Reason, Stage
from jobd.master.health import memory
from jobd.master.phase import Phase
from tests.unit.master.conftest import MakeScene


def test_without_limits_nobody_is_replaced(scene: MakeScene) -> None:
    one = scene()
    one.done(one.worker(0), 10**9)
    one.resident = one.shared = 10**6
    one.pass_time(10_000)
    assert one.log.events == []


def test_limits_are_spread(scene: MakeScene) -> None:
    one = scene(workers=16, max_jobs=1000)
    limits = {child: 1000 * spread for child, spread in one.oversight.recycle._spread.items()}
    assert len(set(limits.values())) == 16
    assert all(800 <= limit <= 1200 for limit in limits.values())


def test_only_one_is_replaced_at_a_time_and_the_old_one_leaves_last(
    scene: MakeScene,
) -> None:
    one = scene(workers=3, max_jobs=1000)
    old = [one.worker(index) for index in range(3)]
    for child in old:
        one.done(child, 1200)
    for index, child in enumerate(old):
        one.pass_time(30)
        assert [slot.replacement is not None for slot in one.slots.workers].count(True) == 1
        assert one.worker(index) is child
        assert child.stage is Stage.READY, "it works until the new one is ready"
        one.ready(index)
        one.pass_time(1)
        assert child.reason is Reason.RECYCLE
        assert child.planned
        one.pass_time(30)
        assert all(slot.replacement is None for slot in one.slots.workers), "it still leaves"
        one.gone(child, "exit code 0")
    one.pass_time(30)
    assert one.log.count("worker_recycled") == 3
    assert len(one.slots.living) == 3


def test_max_age(scene: MakeScene) -> None:
    one = scene(workers=1, max_age=3600.0)
    one.pass_time(2870)
    assert one.log.events == []
    one.pass_time(1450)
    assert one.log.count("worker_recycled") == 1


def test_a_new_worker_that_fails_leaves_the_old_one_and_is_tried_again_later(
    scene: MakeScene,
) -> None:
    one = scene(workers=1, max_jobs=10)
    old = one.worker()
    one.done(old, 12)
    pauses = []
    for _ in range(7):
        began = one.now
        while (new := one.slots.workers[0].replacement) is None:
            one.pass_time(1)
        pauses.append(one.now - began)
        one.gone(new, "exit code 66")
        one.pass_time(1)
    assert pauses[1:] == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0]
    assert one.log.count("recycle_failed") == 7
    assert one.worker() is old
    assert old.serving
    assert one.slots.stopped == []


def test_a_fork_that_fails_is_such_a_failure(scene: MakeScene) -> None:
    one = scene(workers=1, max_jobs=10)
    one.done(one.worker(), 12)
    one.slots.fork_error = "Resource temporarily unavailable"
    one.pass_time(5)
    assert one.log.count("recycle_failed") == 1
    assert one.worker().serving


@pytest.mark.parametrize(
    "phase", [Phase.STARTING, Phase.RELOADING, Phase.QUIETING, Phase.QUIET, Phase.STOPPING]
)
def test_it_happens_only_while_the_daemon_just_runs(scene: MakeScene, phase: Phase) -> None:
    one = scene(workers=1, max_jobs=10)
    one.done(one.worker(), 12)
    one.master.phase = phase
    one.pass_time(30)
    assert one.log.events == []
    one.master.phase = Phase.RUNNING
    one.pass_time(1)
    new = one.slots.workers[0].replacement
    assert new is not None
    one.master.phase = phase
    one.pass_time(1)
    assert one.log.count("recycle_cancelled") == 1
    assert one.slots.stopped == [("worker.0", Reason.RECYCLE)]
    assert new.stage is Stage.STOPPING
    assert one.worker().serving


def test_one_that_was_made_quiet_is_left_alone(scene: MakeScene) -> None:
    one = scene(workers=1, max_jobs=10)
    one.done(one.worker(), 12)
    one.worker().stage = Stage.QUIET
    one.pass_time(30)
    assert one.log.events == []
    one.worker().stage = Stage.READY
    one.pass_time(1)
    assert one.log.count("worker_recycled") == 1


def test_memory_is_measured_every_thirty_seconds_and_when_it_grows(
    scene: MakeScene,
) -> None:
    one = scene(workers=1)
    assert one.measured == 1
    assert one.worker().memory == 30 * 2**20
    one.pass_time(29)
    assert one.measured == 1
    one.pass_time(1)
    assert one.measured == 2
    one.resident = 60
    one.pass_time(2)
    assert one.measured == 3


def test_measuring_many_large_workers_does_not_hold_up_the_master(
    scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "BUDGET", 0.0)
    one = scene(workers=3)
    assert one.measured == 0
    monkeypatch.setattr(memory, "BUDGET", 60.0)
    one.pass_time(1)
    assert one.measured == 3


def test_the_soft_limit_recycles_once(scene: MakeScene) -> None:
    one = scene(workers=1, memory_soft=100, memory_hard=200)
    old = one.worker()
    one.resident = one.shared = 150
    one.pass_time(100)
    assert [event for event, _ in one.log.events] == ["worker_recycled"]
    assert old.serving
    one.resident = one.shared = 50
    one.ready()
    one.pass_time(1)
    assert one.slots.stopped == [("worker.0", Reason.RECYCLE)]


def test_what_processes_share_counts_once(scene: MakeScene) -> None:
    one = scene(workers=1, memory_soft=100)
    one.resident, one.shared = 1000, 90
    one.pass_time(100)
    assert one.log.events == []


def test_the_hard_limit_dumps_quiets_and_kills_once(scene: MakeScene) -> None:
    one = scene(workers=1, memory_hard=200)
    old = one.worker()
    one.resident = one.shared = 250
    one.pass_time(1)
    assert one.dumped == ["worker.0"]
    assert one.told == [("worker.0", "quiet")]
    assert old.kill_at == one.now + 10
    assert (old.reason, old.planned) == (Reason.MEMORY, False)
    one.resident = one.shared = 400
    one.pass_time(8)
    assert one.log.count("memory_hard_exceeded") == 1
    assert len(one.dumped) == len(one.told) == 1


def test_above_the_hard_limit_one_without_jobs_leaves_at_once(
    scene: MakeScene,
) -> None:
    one = scene(workers=1, memory_hard=200)
    one.resident = one.shared = 250
    one.pass_time(1)
    one.worker().idle = True
    one.pass_time(3)
    assert one.slots.stopped == [("worker.0", Reason.MEMORY)]
