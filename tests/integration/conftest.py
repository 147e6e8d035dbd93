"""The ``daemon`` fixture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests.integration.daemon import Daemon


class StartDaemon(Protocol):
    """What the fixture gives: a function that starts a daemon and returns when it is ready."""

    def __call__(
        self, app: str, *flags: str, ready: bool = True, env: Mapping[str, str] | None = None
    ) -> Daemon: ...


@pytest.fixture
def idle_daemon(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Daemon]:
    """A daemon that the test itself starts, with ``run`` or ``start``."""
    made = Daemon(tmp_path, server.url)
    yield made
    made.check()


@pytest.fixture
def daemon(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[StartDaemon]:
    """Start daemons by ``daemon(app_source, *flags)``; each is checked when the test ends."""
    made: list[Daemon] = []

    def start(
        app: str, *flags: str, ready: bool = True, env: Mapping[str, str] | None = None
    ) -> Daemon:
        directory = tmp_path / f"daemon{len(made)}"
        directory.mkdir()
        running = Daemon(directory, server.url)
        made.append(running)
        running.write_app(app)
        running.run(*flags, env=env)
        return running.wait_ready() if ready else running

    yield start
    for running in made:
        running.check()
