"""The breaker of the start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobd.config import Config
from jobd.errors import Exit
from jobd.master.boot import Boot
from jobd.master.child import Failure


class Ending:
    def __init__(self) -> None:
        self.failures: list[str] = []

    def fail(self, code: Exit, reason: str) -> None:
        self.failures.append(reason)


def gone(**changes: object) -> Any:
    known = {"role": "worker.0", "planned": False, "ready_at": 0.0, "failure": None, "reason": None}
    return SimpleNamespace(**(known | changes))


@pytest.fixture
def ending() -> Ending:
    return Ending()


@pytest.fixture
def boot(ending: Ending) -> Boot:
    master: Any = SimpleNamespace(config=Config(workers=2), ending=ending)
    return Boot(master)


def test_three_failures_for_each_worker_are_enough(boot: Boot, ending: Ending) -> None:
    for _ in range(5):
        boot.child_gone(gone(), "exit code 1")
    assert ending.failures == []
    boot.child_gone(gone(), "exit code 1")
    assert ending.failures == ["worker.0 died while it was starting: exit code 1"]


def test_one_permanent_failure_is_enough(boot: Boot, ending: Ending) -> None:
    boot.child_gone(gone(failure=Failure(Exit.NO_APPLICATION, True, "no module")), "exit code 66")
    assert ending.failures == ["no module"]


def test_a_worker_that_was_ready_and_is_killed_has_not_failed_to_start(
    boot: Boot, ending: Ending
) -> None:
    """While another one still boots; the daemon gave up although the application was sound."""
    for _ in range(20):
        boot.child_gone(gone(ready_at=1.0), "killed by signal 9 (SIGKILL)")
    assert ending.failures == []
