"""The ledger's calls: what ends together, and how much of it at once."""

from __future__ import annotations

from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.log import log
from jobd.store.inflight import Claimed, InFlight
from jobd.store.keys import Keys
from jobd.worker.fetch.ledger import END_AT_MOST, Ledger
from jobd.worker.run.settlement import Outcome, Settlement


def test_jobs_on_which_something_hangs_end_in_calls_of_bounded_size() -> None:
    page, _ = Page.make(1)
    ledger = Ledger(InFlight(Keys(), "host:1:x", ["default"]), page, log.get("test"))
    count = 2 * END_AT_MOST + 1
    for sequence in range(1, count + 1):
        job = Claimed(sequence, "default", b"{}")
        ledger.add(job)
        assert ledger.settle(Settlement(job, b"", Outcome.DONE, b"{}"))
    calls = ledger.calls()
    assert [call.count(b":default\r\n") for call, _ in calls] == [END_AT_MOST, END_AT_MOST, 1]
    for ended, (_, use) in zip((END_AT_MOST, END_AT_MOST, 1), calls, strict=True):
        use(ended)
    assert len(ledger) == 0
    assert ledger.calls() == []
    page.close()
