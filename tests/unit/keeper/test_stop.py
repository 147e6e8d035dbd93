"""The end of the keeper: nothing that it has done remains untold."""

from __future__ import annotations

import time
from types import SimpleNamespace

from jobd.errors import Exit
from jobd.keeper.main import FINISH, RESIGN, Keeper
from jobd.runtime.ipc import messages


def test_a_recovery_that_ends_during_a_turn_is_told_before_the_keeper_exits() -> None:
    told: list[object] = []

    class Recovery:
        outage = ""

        @property
        def pending(self) -> int:
            keeper._on_recovered("host:1:a", 3)
            return 0

    keeper = Keeper.__new__(Keeper)
    vars(keeper).update(
        _scheduler=SimpleNamespace(quiet=True, outage=""),
        _recovery=Recovery(),
        _periodic=SimpleNamespace(outage="", resigned=True),
        _troubles=SimpleNamespace(left=True),
        _short="",
        _short_told="",
        _done=[],
        _deadline=time.monotonic() + FINISH - RESIGN,
        bell=SimpleNamespace(ring=lambda: None),
        exit_code=None,
        tell=told.append,
        tell_outage=lambda _error: None,
    )
    keeper.tick()
    assert keeper.exit_code == Exit.OK
    assert told == [messages.Recovered("host:1:a", 3)]
