"""Fixtures of every test: a real server, and the proof that no process is left behind."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests import processes

processes.become_subreaper()


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """A private server, one for each test process."""
    with EmbeddedServer(tcp=True) as running:
        processes.servers.append(running)
        yield running
        processes.servers.remove(running)


@pytest.fixture
def redis(server: EmbeddedServer) -> Iterator[redis_py.Redis]:
    """A plain connection to an empty server."""
    with redis_py.Redis.from_url(server.url, protocol=2, socket_timeout=30) as client:
        client.flushall()
        yield client


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After every test: no process of ours and no zombie remains."""
    known = set(psutil.Process().children(recursive=True))
    yield
    left = processes.end_all(known)
    assert not left, "the test left processes behind:\n" + "\n".join(left)
