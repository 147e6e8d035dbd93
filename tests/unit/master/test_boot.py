"""The breaker of the start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobd.errors import Exit
from jobd.master.boot import Boot
from jobd.master.children.child import Failure
from jobd.settings.daemon import Config


class Ending:
    def __init__(self) -> None:
        self.failures: list[str] = []

    def fail(self, code: int, reason: str) -> None:
        self.failures.append(reason)


def gone(**changes: object) -> Any:
    known = {"role": "worker.0", "planned": False, "ready_at": 0.0, "failure": None, "reason": None}
    known |= changes
    return SimpleNamespace(**known, is_worker=str(known["role"]).startswith("worker."))


@pytest.fixture
def ending() -> Ending:
    return Ending()


@pytest.fixture
def boot(ending: Ending) -> Boot:
    slots = SimpleNamespace(complete=lambda: False, children=list)
    staff = SimpleNamespace(slots=slots)
    daemon: Any = SimpleNamespace(config=Config(workers=2), staff=staff)
    return Boot(daemon, ending.fail)


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


def test_where_one_worker_could_boot_the_others_are_tried_again(boot: Boot, ending: Ending) -> None:
    """Twenty boots were killed from outside, and a daemon with a working worker gave up."""
    boot.child_ready(gone(role="keeper"))
    boot.child_ready(gone())
    for _ in range(20):
        boot.child_gone(gone(role="worker.1"), "killed by signal 9 (SIGKILL)")
    assert ending.failures == []


def test_a_keeper_that_boots_says_nothing_about_the_application(boot: Boot, ending: Ending) -> None:
    boot.child_ready(gone(role="keeper"))
    for _ in range(6):
        boot.child_gone(gone(), "exit code 1")
    assert len(ending.failures) == 1


def test_nor_does_a_zygote_about_the_hooks_of_its_workers(boot: Boot, ending: Ending) -> None:
    boot.child_ready(gone(role="zygote"))
    boot.child_gone(gone(failure=Failure(Exit.NO_APPLICATION, True, "a hook")), "exit code 66")
    assert ending.failures == ["a hook"]


def test_the_last_reason_is_told_when_the_time_is_up(boot: Boot, ending: Ending) -> None:
    boot.child_ready(gone())
    boot.child_gone(gone(failure=Failure(Exit.NO_APPLICATION, True, "a hook")), "exit code 66")
    assert ending.failures == []
    boot.advance(float("inf"))
    assert ending.failures == ["not ready within 60 seconds (start_timeout): a hook"]
