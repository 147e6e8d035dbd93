"""What several rows need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.deaddisk import DeadDisk
from tests.faults.memorygroup import MemoryGroup, NoMemoryGroup
from tests.support import processes


@pytest.fixture
def dead_disk(tmp_path: Path) -> Iterator[DeadDisk]:
    """For the test's first daemon; whatever waits for it is let go after the test. To be asked for
    before the daemon, which would otherwise be looked over while something waits."""
    disk = DeadDisk(tmp_path / "daemon0" / "disk")
    yield disk
    disk.answer()
    processes.reap()


@pytest.fixture
def memory_group() -> Iterator[MemoryGroup]:
    """150 MB for all processes that are put into it. To be asked for before the daemon, which must
    have ended when the group goes."""
    try:
        group = MemoryGroup(150)
    except NoMemoryGroup as reason:
        pytest.skip(str(reason))
    yield group
    processes.reap()
    group.close()
