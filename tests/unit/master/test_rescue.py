"""Deliveries to workers that do not move, as the master sees them, with a clock of its own."""

from __future__ import annotations

from typing import Any

import pytest

from jobd.master.children.child import Child
from jobd.master.health.rescue import LIMIT, SETTLE
from jobd.runtime.ipc.scoreboard import FETCHER_BEAT, RESCUE
from tests.support.overseen import Scene
from tests.unit.master.conftest import MakeScene


class Keeper:
    """Notes what it is asked for, and answers when the test wants it to."""

    def __init__(self, scene: Scene) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self.there = True
        self._scene = scene
        scene.master.staff.take_over = self._take_over

    def _take_over(self, child: Child, waits: list[int]) -> bool:
        if self.there:
            self.asked.append((child.role, waits))
        return self.there

    def answer(self, child: Child, jobs: int = 1) -> None:
        self._scene.oversight.rescue.taken_over(child.identity, jobs, self._scene.now)


def step(scene: Scene, seconds: float) -> None:
    scene.now += seconds
    scene.oversight.turn(scene.now)


@pytest.fixture
def one(scene: MakeScene) -> Scene:
    made = scene()
    child = made.worker()
    made.runs(child, 7)
    child.workplace.page.show_wait(0, 100)
    child.workplace.page.show_wait(3, 400)
    made.silent.add(child)
    return made


def test_a_worker_that_beats_is_left_alone(scene: MakeScene) -> None:
    one = scene()
    keeper = Keeper(one)
    one.runs(one.worker(), 7)
    one.worker().workplace.page.show_wait(0, 100)
    one.pass_time(100)
    assert not keeper.asked
    assert not one.worker().workplace.page.words[RESCUE]


def test_the_word_comes_before_the_look_at_what_is_unread(one: Scene) -> None:
    keeper, child = Keeper(one), one.worker()
    page = child.workplace.page
    one.pass_time(1)
    assert page.words[RESCUE]
    assert not keeper.asked
    page.show_wait(0, 0)  # it reads one in the last moment
    step(one, SETTLE)
    assert keeper.asked == [("worker.0", [400])]


def test_what_it_reads_in_time_is_its_own(one: Scene) -> None:
    keeper, child = Keeper(one), one.worker()
    page = child.workplace.page
    one.pass_time(1)
    page.show_wait(0, 0)
    page.show_wait(3, 0)
    step(one, SETTLE)
    assert not keeper.asked
    assert not page.words[RESCUE]


def test_the_word_stays_until_the_keeper_has_answered(one: Scene) -> None:
    keeper, child = Keeper(one), one.worker()
    page = child.workplace.page
    one.pass_time(1)
    step(one, SETTLE)
    one.silent.clear()
    one.pass_time(100)
    assert page.words[RESCUE], "whatever it does: what it starts now others may start as well"
    assert len(keeper.asked) == 1
    keeper.answer(child, 2)
    told: dict[str, Any] = dict(one.log.events)["jobs_taken_over"]
    assert (told["child"], told["jobs"]) == ("worker.0", 2)
    one.beat()
    step(one, 0.0)
    assert page.words[RESCUE]
    one.now += LIMIT
    one.beat()
    step(one, 0.0)
    assert not page.words[RESCUE]


def test_it_goes_on_while_the_worker_does_not_move(one: Scene) -> None:
    keeper, child = Keeper(one), one.worker()
    one.pass_time(1)
    step(one, SETTLE)
    for asked in range(2, 6):
        keeper.answer(child, 0)
        step(one, LIMIT)
        assert len(keeper.asked) == asked
    assert one.log.count("jobs_taken_over") == 0, "there was none"
    assert child.workplace.page.words[RESCUE]


@pytest.mark.parametrize("when", ["before it is asked", "before it answers"])
def test_a_keeper_that_dies_is_followed_by_another_one(one: Scene, when: str) -> None:
    keeper, child = Keeper(one), one.worker()
    keeper.there = when == "before it answers"
    one.pass_time(1)
    step(one, SETTLE)
    keeper.there = True
    gone: Any = type("Gone", (), {"role": "keeper"})()
    one.oversight.rescue.child_gone(gone, one.now)
    step(one, LIMIT)
    assert keeper.asked[-1] == ("worker.0", [100, 400])
    assert child.workplace.page.words[RESCUE]


def test_one_that_runs_nothing_is_seen_by_its_main_thread(scene: MakeScene) -> None:
    one = scene()
    keeper, child = Keeper(one), one.worker()
    child.workplace.page.show_wait(0, 100)
    one.fetched_at[child] = one.now  # idle, it sleeps for seconds
    one.pass_time(5)
    assert not keeper.asked
    one.silent.add(child)
    one.pass_time(2)
    step(one, SETTLE)
    assert keeper.asked == [("worker.0", [100])]


def test_a_busy_worker_is_looked_at_often_and_an_idle_one_is_not(scene: MakeScene) -> None:
    one = scene()
    one.pass_time(1)
    assert one.oversight.rescue.next_look == one.now + 1.0
    one.worker().workplace.page.show_wait(0, 100)
    one.pass_time(1)
    assert one.oversight.rescue.next_look == one.now + 1.0
    one.runs(one.worker(), 7)
    one.pass_time(1)
    assert one.oversight.rescue.next_look == one.now + LIMIT
    one.worker().workplace.page.show_wait(0, 0)
    one.pass_time(1)
    assert one.oversight.rescue.next_look == one.now + 1.0, "nothing can be delivered to it"


def test_a_worker_that_has_gone_is_forgotten(one: Scene) -> None:
    keeper, child = Keeper(one), one.worker()
    one.pass_time(1)
    one.gone(child, "killed by signal 9 (SIGKILL)")
    one.pass_time(5)
    keeper.answer(child)
    assert not keeper.asked
    assert one.log.count("jobs_taken_over") == 0
    assert child.workplace.page.words[FETCHER_BEAT]
