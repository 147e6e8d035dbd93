"""What several rows need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import processes
from tests.faults.deaddisk import DeadDisk


@pytest.fixture
def dead_disk(tmp_path: Path) -> Iterator[DeadDisk]:
    """For the test's first daemon; whatever waits for it is let go after the test. To be asked for
    before the daemon, which would otherwise be looked over while something waits."""
    disk = DeadDisk(tmp_path / "daemon0" / "disk")
    yield disk
    disk.answer()
    processes.reap()
