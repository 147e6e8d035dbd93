"""A plugin of pytest: how ``pytest -n`` shares the tests out.

Some tests compute and some wait, mostly for what daemons do. So the processes begin at both ends:
two of three with those that wait, the others with those that compute, and the processor has work
all the time. What is left in the end is from the middle, where the tests are short.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

TOGETHER = (
    "/test_site.py::",
    "tests/web/browser/test_pages.py::",
    "tests/web/browser/",
    "tests/systemd/",
    "tests/packages/test_image.py::",
    "tests/packages/test_wheel.py::",
    "tests/unit/schedules/test_line.py::",
    "tests/web/test_translated.py::",
)
"""Tests that one process runs one after the other, for what they share takes long to make: the
manual as a site, a browser, the systemd that they boot. The first that fits; the longest first."""

WAITING = ("tests/systemd/", "tests/faults/", "tests/interop/", "tests/top/", "tests/integration/")
"""Tests that wait for most of their time."""


def _scope(name: str) -> str:
    """What is run by one process: a test, or one of :data:`TOGETHER`."""
    return next((part for part in TOGETHER if part in name), name)


def _place(item: pytest.Item) -> int:
    """Where a test stands: what waits in front, what takes long together at the end."""
    for place, part in enumerate(WAITING, -len(WAITING)):
        if item.nodeid.startswith(part):
            return place
    scope = _scope(item.nodeid)
    return len(TOGETHER) - TOGETHER.index(scope) if scope in TOGETHER else 0


class _Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # which has no types
    """Without ``xdist_group``, which pytest 9.2 has broken."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if int(node.gateway.id.removeprefix("gw")) % 3 == 0:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Scheduler:
    """For ``pytest -n``."""
    config.option.loadscopereorder = False  # in the order of the tests
    return _Scheduler(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In each process of xdist, for all of them must have the same order."""
    if hasattr(config, "workerinput"):
        items.sort(key=_place)
