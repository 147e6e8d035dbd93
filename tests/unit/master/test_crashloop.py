"""The breaker of a running daemon with a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jobd.errors import Exit
from jobd.master.children.child import Reason
from jobd.master.phase import Phase
from tests.support.overseen import Scene
from tests.unit.master.conftest import MakeScene


@pytest.fixture
def one(scene: MakeScene) -> Scene:
    return scene(workers=2)


def crash(
    one: Scene,
    times: int,
    every: int = 1,
    reason: Reason | None = None,
    jobs: Sequence[str] = (),
) -> None:
    for _ in range(times):
        child = one.slots.born(one.slots.workers[0], 1)
        child.reason = reason
        for thread, name in enumerate(jobs):
            payload = b'{"class":"%s","jid":"3f"}' % name.encode()
            one.runs(child, thread + 1, thread=thread, payload=payload)
        one.gone(child)
        one.pass_time(every)


def test_nine_crashes_in_a_minute_are_none(one: Scene) -> None:
    crash(one, 9)
    assert not one.slots.degraded
    one.pass_time(60)
    crash(one, 9)
    assert not one.slots.degraded


def test_ten_crashes_in_a_minute_hold_the_slots_back(one: Scene) -> None:
    crash(one, 10, every=6)
    assert one.slots.held_back == 30
    assert one.log.count("crash_loop") == 1
    assert one.given_up == []


def test_crashes_that_are_slower_are_none(one: Scene) -> None:
    crash(one, 100, every=7)
    assert not one.slots.degraded


@pytest.mark.parametrize("reason", [Reason.STOP, Reason.ROLL, Reason.RECYCLE, Reason.EXTERNAL])
def test_planned_ends_are_no_crashes(one: Scene, reason: Reason) -> None:
    crash(one, 50, reason=reason)
    assert not one.slots.degraded


@pytest.mark.parametrize("reason", [None, Reason.LATE, Reason.HUNG, Reason.MEMORY, Reason.MUTE])
def test_all_others_are(one: Scene, reason: Reason | None) -> None:
    crash(one, 10, reason=reason)
    assert one.slots.degraded


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.STOPPING, Phase.FAILED])
def test_a_start_and_an_end_have_rules_of_their_own(one: Scene, phase: Phase) -> None:
    one.master.phase = phase
    crash(one, 50)
    assert not one.slots.degraded


def test_all_workers_killed_at_once_are_no_loop(scene: MakeScene) -> None:
    one = scene(workers=100)
    for child in one.slots.children():
        one.gone(child, "killed by signal 9 (SIGKILL)")
    one.pass_time(1)
    assert not one.slots.degraded


def test_one_worker_can_be_a_loop(scene: MakeScene) -> None:
    one = scene(workers=1)
    crash(one, 6, every=9)
    assert one.slots.degraded


def test_it_is_said_once_a_minute(one: Scene) -> None:
    crash(one, 10)
    crash(one, 30, every=20)
    assert one.slots.degraded
    assert 9 <= one.log.count("crash_loop") <= 11


def test_it_is_over_after_a_minute_without(one: Scene) -> None:
    crash(one, 12)
    one.pass_time(57)
    assert one.slots.held_back == 30
    one.pass_time(3)
    assert one.slots.held_back == 0
    assert one.log.count("crash_loop_over") == 1
    crash(one, 10)
    assert one.slots.degraded, "and may come again"


def test_on_demand_the_daemon_ends(scene: MakeScene) -> None:
    one = scene(workers=2, exit_on_crash_loop=True)
    crash(one, 10)
    [(code, text)] = one.given_up
    assert code == Exit.SOFTWARE
    assert text.startswith("crash loop (exit_on_crash_loop): 10 crashes within 60 s")
    assert "worker.0 exit code 1" in text


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (
            [(10, ["boom"])],
            "10 crashes within 60 s, all of them while boom ran; the last: worker.0",
        ),
        ([(1, []), (9, ["boom"])], ", 9 of them while boom ran; "),
        ([(4, ["boom", "nap"]), (6, ["boom"])], ", all of them while boom ran; "),
        ([(10, ["boom", "nap"])], " while boom and nap ran; "),
        ([(10, ["boom", "boom"])], ", all of them while boom ran; "),
        ([(10, [])], "10 crashes within 60 s; the last: worker.0"),
    ],
)
def test_it_names_what_ran_most_often(
    one: Scene, seen: list[tuple[int, list[str]]], told: str
) -> None:
    for times, jobs in seen:
        crash(one, times, jobs=jobs)
    assert told in one.oversight.crash_loop
    assert ("crash_loop", {"crashes": 10, "seconds": 60.0, "reason": one.oversight.crash_loop}) in (
        one.log.events
    )
    one.pass_time(60)
    assert one.oversight.crash_loop == ""
