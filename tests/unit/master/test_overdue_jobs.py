"""Jobs that go on after their deadlines, as the master sees them, with a clock of its own."""

from __future__ import annotations

import time

import pytest

from jobd.master.children.child import Reason, Stage
from jobd.master.phase import Phase
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.settings.daemon import Config
from jobd.store.inflight import Claimed, InFlight
from jobd.store.keys import Keys
from jobd.worker.fetch.ledger import Ledger
from jobd.worker.run.settlement import Outcome, Settlement
from tests.unit.master.conftest import MakeScene

FIRST = b'{"class":"shop.crawl","args":[],"jid":"3f"}'
SECOND = b'{"class":"shop.crawl","args":[],"jid":"4e"}'


def test_jobs_in_time_and_jobs_without_a_limit_are_left_alone(scene: MakeScene) -> None:
    one = scene(job_kill_grace=30.0)
    one.runs(one.worker(0), 1)
    one.runs(one.worker(1), 2, deadline=one.now + 5000)
    one.pass_time(5000)
    assert one.log.events == []
    assert one.told == []


def test_a_worker_with_an_overdue_job_is_replaced_after_the_grace(scene: MakeScene) -> None:
    one = scene(job_kill_grace=30.0)
    child = one.worker(0)
    one.runs(child, 7, deadline=one.now, payload=FIRST)
    one.pass_time(29)
    assert one.log.events == []
    assert child.trouble == ""
    one.pass_time(1)
    assert one.dumped == ["worker.0"]
    about = {"child": "worker.0", "child_pid": child.pid, "class": "shop.crawl", "jid": "3f"}
    told = {**about, "seconds": 30.0, "cause": "timeout"}
    assert ("job_overdue", told) in one.log.events
    one.pass_time(15)
    assert child.trouble == "job 3f is 45 s past its timeout"
    assert one.log.count("worker_recycled") == 1
    assert child.stage is Stage.READY, "it works until the new one is ready"
    one.ready()
    one.pass_time(1)
    assert one.slots.stopped == [("worker.0", Reason.RECYCLE)]
    assert child.planned
    one.pass_time(1000)
    assert one.log.count("job_overdue") == len(one.dumped) == 1


def test_one_that_goes_on_after_its_forced_cancellation_is_too(scene: MakeScene) -> None:
    one = scene(job_kill_grace=30.0)
    child = one.worker(0)
    one.runs(child, 7, deadline=one.now + 5000, payload=FIRST)
    one.runs(child, 8, thread=2, payload=SECOND)
    child.workplace.page.show_forced(7, one.now)
    one.pass_time(29)
    assert one.log.events == []
    one.pass_time(1)
    about = {"child": "worker.0", "child_pid": child.pid, "class": "shop.crawl", "jid": "3f"}
    assert ("job_overdue", {**about, "seconds": 30.0, "cause": "cancellation"}) in one.log.events
    assert child.trouble == "job 3f is 30 s past its cancellation"
    one.pass_time(1)
    assert one.log.count("worker_recycled") == 1
    child.workplace.page.show_forced(0, 0.0)
    one.pass_time(1)
    assert child.trouble == ""


def test_each_job_is_told_once_and_the_stacks_are_not_shown_for_each(scene: MakeScene) -> None:
    one = scene(job_kill_grace=30.0)
    child = one.worker(0)
    one.runs(child, 8, deadline=one.now - 10, thread=2, payload=SECOND)
    one.runs(child, 7, deadline=one.now - 20, payload=FIRST)
    one.pass_time(30)
    assert [fields["jid"] for event, fields in one.log.events if event == "job_overdue"] == [
        "3f",
        "4e",
    ]
    assert child.trouble == "job 3f is 50 s past its timeout, and 1 more"
    assert one.dumped == ["worker.0"]


@pytest.mark.parametrize("nonsense", [b"", b"{}", b'{"class":1}', b'{"class":"shop.cr', b"\xff"])
def test_one_whose_payload_has_no_name_is_told_without_it(
    scene: MakeScene, nonsense: bytes
) -> None:
    one = scene(job_kill_grace=1.0)
    child = one.worker(0)
    one.runs(child, 7, deadline=one.now, payload=nonsense)
    one.pass_time(1)
    assert (
        "job_overdue",
        {
            "child": "worker.0",
            "child_pid": child.pid,
            "seconds": 1.0,
            "cause": "timeout",
            "sequence": 7,
        },
    ) in one.log.events
    assert child.trouble == "a job is 1 s past its timeout"


def test_a_job_that_ends_after_all_ends_the_trouble_and_the_hurry(scene: MakeScene) -> None:
    one = scene(job_kill_grace=30.0)
    one.slots.fork_error = "Resource temporarily unavailable"  # so it has to be tried again
    child = one.worker(0)
    one.runs(child, 7, deadline=one.now)
    one.pass_time(35)
    assert one.log.count("recycle_failed") == 1
    one.runs(child, 0)
    one.pass_time(1)
    assert child.trouble == ""
    one.slots.fork_error = ""
    one.pass_time(1000)
    assert one.slots.workers[0].replacement is None


def test_nobody_is_replaced_where_the_setting_says_never(scene: MakeScene) -> None:
    one = scene(job_kill_grace=0.0)
    one.runs(one.worker(0), 7, deadline=one.now)
    one.pass_time(10_000)
    assert one.log.events == []


def test_the_setting_may_change(scene: MakeScene) -> None:
    one = scene(job_kill_grace=1000.0)
    one.runs(one.worker(0), 7, deadline=one.now)
    one.pass_time(100)
    one.master.config = Config(job_kill_grace=50.0)
    one.pass_time(1)
    assert one.log.count("job_overdue") == 1


def test_a_worker_that_hangs_is_for_the_watch(scene: MakeScene) -> None:
    """Its main thread could not raise JobTimeout, nor would it hear that it is to leave."""
    one = scene(job_kill_grace=2.0, worker_timeout=60.0)
    child = one.worker(0)
    one.silent.add(child)
    one.pass_time(5)
    one.runs(child, 7, deadline=one.now)
    one.pass_time(30)
    assert one.log.count("job_overdue") == one.log.count("worker_recycled") == 0
    assert child.trouble == "does not react"
    one.silent.clear()
    one.pass_time(1)
    assert child.trouble == "", "its job is told only now"
    one.pass_time(1)
    assert child.trouble == "a job is 32 s past its timeout"


def test_what_the_watch_sees_is_not_hidden(scene: MakeScene) -> None:
    one = scene(job_kill_grace=1.0)
    child = one.worker(0)
    one.runs(child, 7, deadline=one.now)
    one.pass_time(2)
    one.silent.add(child)
    one.pass_time(20)
    assert child.trouble == "does not react"
    one.runs(child, 0)
    one.pass_time(1)
    assert child.trouble == "does not react"


def test_a_pause_of_all_processes_does_not_count(scene: MakeScene) -> None:
    """Nobody could raise JobTimeout."""
    one = scene(job_kill_grace=30.0)
    one.runs(one.worker(0), 7, deadline=one.now + 1)
    one.now += 300
    one.pass_time(29)
    assert one.log.count("job_overdue") == 0
    one.pass_time(2)
    assert one.log.count("job_overdue") == 1


def test_it_comes_before_the_others_one_at_a_time(scene: MakeScene) -> None:
    one = scene(workers=3, max_jobs=10, job_kill_grace=30.0)
    one.slots.fork_error = "Resource temporarily unavailable"
    one.done(one.worker(0), 12)
    one.done(one.worker(1), 12)
    one.runs(one.worker(2), 7, deadline=one.now - 25)
    one.pass_time(5)
    one.slots.fork_error = ""
    while not any(slot.replacement for slot in one.slots.workers):
        one.pass_time(1)
    one.pass_time(30)
    assert [bool(slot.replacement) for slot in one.slots.workers] == [False, False, True]


def test_it_does_not_wait_for_those_that_still_finish_their_jobs(scene: MakeScene) -> None:
    one = scene(workers=3, job_kill_grace=1.0)
    for index in range(3):
        one.runs(one.worker(index), 7, deadline=one.now)
    for index in range(3):
        one.pass_time(2)
        assert [bool(slot.replacement) for slot in one.slots.workers].count(True) == 1
        one.ready(index)
        one.pass_time(1)
    assert len(one.slots.living) == 6


def test_but_no_more_than_max_extra_at_a_time(scene: MakeScene) -> None:
    one = scene(workers=2, job_kill_grace=1.0, max_extra=1)
    old = one.worker(0)
    for index in range(2):
        one.runs(one.worker(index), 7, deadline=one.now)
    one.pass_time(2)
    one.ready(0)
    one.pass_time(30)
    assert one.slots.workers[1].replacement is None
    one.gone(old, "exit code 0")
    one.pass_time(1)
    assert one.slots.workers[1].replacement is not None


def test_while_quiet_it_is_told_and_nobody_is_replaced(scene: MakeScene) -> None:
    one = scene(job_kill_grace=1.0)
    one.master.phase = Phase.QUIET
    one.runs(one.worker(0), 7, deadline=one.now)
    one.pass_time(100)
    assert one.log.count("job_overdue") == 1
    assert one.log.count("worker_recycled") == 0
    one.master.phase = Phase.RUNNING
    one.pass_time(1)
    assert one.log.count("worker_recycled") == 1


# -- the worker's ledger -----------------------------------------------------------------------


def test_an_end_is_decided_once() -> None:
    """A job that was failed for its time may say that it is done, and the other way round."""
    inflight = InFlight(Keys(), "host:1:abc", ["default"])
    workplace = Workplace(1, "test")
    ledger = Ledger(inflight, workplace.page, None)  # type: ignore[arg-type]
    first, second = Claimed(1, "default", b"{}"), Claimed(2, "default", b"{}")
    fails = [
        Settlement(job, inflight.retry(job, b"{}", time.time()), Outcome.RETRY)
        for job in (first, second)
    ]
    ledger.add(first)
    ledger.add(second)
    assert ledger.settle(fails[0])
    assert not ledger.done(first)
    assert not ledger.settle(fails[0])
    assert ledger.done(second)
    assert not ledger.settle(fails[1])
    ledger.give_back_running()
    assert not ledger.returning
    assert len(ledger.calls()) == 2
    for (_, use), answer in zip(ledger.calls(), (1, 1), strict=True):
        use(answer)
    assert len(ledger) == 0
    assert not ledger.done(first)
    assert not ledger.settle(fails[1])
    workplace.close()
