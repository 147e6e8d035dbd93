"""Rolls without processes: what they leave behind when something dies in the middle."""

from __future__ import annotations

from jobd.master.children.child import Reason, Slot, Stage
from jobd.master.rollout.roll import Roll
from jobd.master.rollout.succession import Outcome
from jobd.settings.daemon import Config
from tests.unit.master.conftest import MakeScene

KILLED = "killed by signal 9 (SIGKILL)"


def test_when_the_new_zygote_dies_the_worker_that_boots_is_sent_away(scene: MakeScene) -> None:
    one = scene(workers=1)
    old = one.worker()
    zygote = one.slots.zygote = Slot("zygote", 0)
    zygote.child = one.slots.born(zygote, 1)
    roll = Roll(one.master.staff, 2, Config(), lambda _text: None)
    assert roll.advance() is Outcome.GOING_ON
    new = zygote.replacement
    assert new is not None
    new.stage, new.ready_at = Stage.READY, one.now
    assert roll.advance() is Outcome.GOING_ON
    assert one.slots.workers[0].replacement is not None
    roll.exited(new, KILLED)
    assert roll.advance() is Outcome.FAILED
    assert roll.error == f"the new zygote died: {KILLED}"
    assert one.slots.stopped == [("worker.0", Reason.ROLL)]
    assert old.serving


def test_recycled_workers_that_still_leave_count_for_max_extra(scene: MakeScene) -> None:
    one = scene(workers=2)
    leaving = one.slots.born(one.slots.workers[0], 1)
    leaving.stage, leaving.reason = Stage.STOPPING, Reason.RECYCLE
    roll = Roll(one.master.staff, 2, Config(max_extra=1), lambda _text: None)
    roll.advance()
    assert one.slots.workers[0].replacement is None
    one.gone(leaving, "exit code 0")
    roll.advance()
    assert one.slots.workers[0].replacement is not None


def test_a_roll_waits_for_the_end_of_what_was_asked_for_before(scene: MakeScene) -> None:
    one = scene(workers=1)
    slot = one.slots.workers[0]
    slot.replacement = before = one.slots.born(slot, 1)
    roll = Roll(one.master.staff, 2, Config(), lambda _text: None)
    roll.advance()
    assert slot.replacement is before
    one.gone(before)
    roll.advance()
    assert slot.replacement not in (None, before)
