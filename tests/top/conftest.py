"""Fixtures of the tests in a real terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from jobd.api import Api
from tests.top.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    made = Terminal(tmp_path)
    yield made
    made.end()


@pytest.fixture
def api(redis: redis_py.Redis) -> Api:
    return Api(redis)
