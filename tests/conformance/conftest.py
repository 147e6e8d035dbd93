"""The world of every test here: once in memory, and once on a real server.

What decides is the same in both: the scripts. So each test says what one of them must do to the
data, and a command that the memory gets wrong fails there and not on the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jobd.features.workflows.run import WorkflowRun
from jobd.features.workflows.workflow import Workflow
from jobd.jobs.app import App
from jobd.testing import EmbeddedServer
from jobd.testing.simulated_time import Time
from jobd.testing.simulation import World, opened, world
from tests.support.real_store import RealStore, shifted_time

START = 1_800_000_000.0
STORES = ("memory", "server")

Open = Callable[..., Any]


@pytest.fixture
def app() -> App:
    made = App()
    made.configure("redis://127.0.0.1:1/0")  # nothing may be sent there
    return made


@contextmanager
def on_store(kind: str, server: EmbeddedServer, app: App, **options: Any) -> Iterator[World]:
    """A world on one of the stores."""
    if kind == "memory":
        with world(app=app, now=START, seed=1, **options) as made:
            yield made
        return
    queues = options.pop("queues", ())
    with (
        shifted_time(),
        opened(
            app, queues, Time(START, 1, None), lambda time: RealStore(server.url, time), options
        ) as made,
    ):
        made.api.redis.time = made.redis.time  # type: ignore[method-assign]
        yield made


@pytest.fixture(params=STORES)
def open_world(request: pytest.FixtureRequest, server: EmbeddedServer, app: App) -> Open:
    """Opens a world with settings."""

    def make(**options: Any) -> Any:
        return on_store(request.param, server, app, **options)

    return make


@pytest.fixture
def w(request: pytest.FixtureRequest, open_world: Open) -> Iterator[World]:
    """A world whose workers serve the ``QUEUES`` of the tests' module; all without these."""
    with open_world(queues=getattr(request.module, "QUEUES", ())) as made:
        yield made


@pytest.fixture
def ran() -> list[Any]:
    """What a job of the test has run with."""
    return []


def pushed(app: App, flow: Any) -> WorkflowRun:
    return Workflow.get(flow.perform_async(), app.client)
