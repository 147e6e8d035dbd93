"""Fixtures of every test: a real server, real daemons, the proof that nothing is left behind."""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests import again, sharing
from tests.support import forkserver, processes
from tests.support.daemon import Daemon
from tests.support.ledger import assert_orderly
from tests.support.manual import ROOT, build
from tests.support.others import Nobody
from tests.support.postgres import Postgres

processes.become_subreaper()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Of `make test`."""
    parser.addoption("--again", action="store_true", help="run once more, alone, what failed")


def pytest_configure(config: pytest.Config) -> None:
    again.configure(config)
    config.pluginmanager.register(sharing, "sharing")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What pytest makes of the tests' code is kept for the next run, also where
    PYTHONDONTWRITEBYTECODE is set: it is half of what a process does before its first test."""
    sys.dont_write_bytecode, kept = False, sys.dont_write_bytecode
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = kept
        gc.freeze()  # a collection need not look at some hundred megabytes of tests


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """A private server, one for each test process. What a test before has left does not count as
    used memory any more once it has been flushed."""
    with EmbeddedServer(tcp=True, options={"lazyfree-lazy-user-flush": "no"}) as running:
        processes.servers.append(running)
        yield running
        processes.servers.remove(running)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A private database server, one for each test process that needs it."""
    with Postgres() as running:
        yield running


@pytest.fixture(scope="session")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the manual as a site, which takes long to build."""
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT / "docs", target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return target / "html"


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[None]:
    """Ends what :mod:`tests.support.forkserver` has started."""
    yield
    forkserver.server.stop()


@pytest.fixture
def redis(server: EmbeddedServer) -> Iterator[redis_py.Redis]:
    """A plain connection to an empty server."""
    with redis_py.Redis.from_url(server.url, protocol=2, socket_timeout=30) as client:
        client.flushall()
        yield client


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After every test: no process of ours and no zombie remains."""
    known = set(processes.descendants())
    yield
    left = processes.end_all(known)
    assert not left, "the test left processes behind:\n" + "\n".join(left)


class StartDaemon(Protocol):
    """Starts ``jobd run`` with application *app* and, unless told otherwise, waits for it."""

    def __call__(
        self,
        app: str,
        *flags: str,
        require: str = "app",
        ready: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Daemon: ...


@pytest.fixture
def daemon(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[StartDaemon]:
    """Start daemons by ``daemon(app_source, *flags)``; each is checked when the test ends."""
    made: list[Daemon] = []

    def start(
        app: str,
        *flags: str,
        require: str = "app",
        ready: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Daemon:
        directory = tmp_path / f"daemon{len(made)}"
        directory.mkdir()
        running = Daemon(directory, server.url)
        made.append(running)
        running.write_app(app)
        running.run(*flags, require=require, env=env)
        return running.wait_ready() if ready else running

    yield start
    for running in made:
        running.check()
    assert_orderly(redis, stopped=all(running.exit_codes == {0} for running in made))


@pytest.fixture
def idle_daemon(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Daemon]:
    """A daemon that the test itself starts, with ``run`` or ``start``; checked at the end."""
    made = Daemon(tmp_path, server.url)
    yield made
    made.check()


@pytest.fixture(scope="session")
def nobody() -> Nobody:
    """A user without rights."""
    return Nobody()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may look into (those of pytest are private)."""
    path = Path(tempfile.mkdtemp(prefix="jobd-users-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
