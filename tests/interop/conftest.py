"""Fixtures for the tests beside the real Sidekiq; all are skipped where it is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_py

import jobd
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.interop.sidekiq import Console, Sidekiq, missing
from tests.support import processes
from tests.support.daemon import Daemon

Python = Callable[..., Daemon]
Ruby = Callable[..., Sidekiq]


@pytest.fixture(autouse=True)
def _needs_sidekiq() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def _console(server: EmbeddedServer) -> Iterator[Console]:
    if reason := missing():
        pytest.skip(reason)
    started = Console(server.url)
    processes.kept.add(started.pid)
    yield started
    processes.kept.discard(started.pid)
    started.close()


@pytest.fixture
def console(_console: Console, redis: redis_py.Redis) -> Console:
    """Sidekiq's API in a Ruby process, with an empty server behind it."""
    return _console


@pytest.fixture
def ruby(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Ruby:
    """``with ruby():`` runs a ``sidekiq`` process with the jobs of ``ruby/jobs.rb``."""
    return lambda *flags: Sidekiq(tmp_path, server.tcp_url, *flags)


@pytest.fixture
def python(
    daemon: StartDaemon, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Python]:
    """Start jobd with the jobs of ``jobs.py``, which this process can push, too."""
    monkeypatch.setenv("INTEROP_REDIS", server.url)
    jobd.configure(redis=server.url)

    def start(*flags: str) -> Daemon:
        environment = {"INTEROP_REDIS": server.url}
        return daemon("", *flags, require="tests.interop.jobs", env=environment)

    yield start
    jobd.configure(redis=None)
