"""Steps of workflows whose jobs were cleared with their queue or set, and are restored; on both
stores."""

from __future__ import annotations

from typing import Any

import pytest

from jobd.api import Api
from jobd.errors import ConflictError
from jobd.jobs.app import App
from jobd.jobs.canvas.parts import chain, group
from jobd.testing.simulation import World
from tests.conformance.conftest import pushed

KEEPER = 70
"""Seconds in which a keeper has ended what hangs on jobs that were cleared."""

QUEUES = ("default",)
"""What is in another queue stays there."""


@pytest.fixture
def work(app: App, ran: list[Any]) -> Any:
    @app.job(name="work", retry_in=lambda *_: 600)
    def work(value: int) -> int:
        ran.append(value)
        if ran.count(value) == 1 and value < 0:
            raise ValueError(value)
        return value

    return work


def restored(api: Api) -> int:
    return next(iter(api.trash)).restore()


@pytest.mark.parametrize("handled", [False, True])
def test_those_of_a_queue_come_back(
    w: World, app: App, work: Any, ran: list[Any], handled: bool
) -> None:
    """Whether or not a keeper has ended them meanwhile."""
    run = pushed(app, group(chain(work.si(n), work.si(n + 10)) for n in (1, 2, 3)))
    api = w.api.acting_as("ann")
    assert api.queue("default").clear() == 3
    if handled:
        w.advance(seconds=KEEPER)
        assert run.info.summary.failed == 3
    assert restored(api) == 3
    assert (run.info.summary.failed, run.info.summary.live) == (0, 3)
    w.run()
    w.advance(seconds=KEEPER)
    assert (run.state, sorted(ran)) == ("done", [1, 2, 3, 11, 12, 13])


@pytest.mark.parametrize("handled", [False, True])
def test_those_of_a_set_come_back(
    w: World, app: App, work: Any, ran: list[Any], handled: bool
) -> None:
    run = pushed(app, group(work.si(-n) for n in (1, 2, 3)))
    w.run()
    api = w.api.acting_as("ann")
    assert api.retries.clear() == 3
    if handled:
        w.advance(seconds=KEEPER)
        assert run.info.summary.failed == 3
    assert restored(api) == 3
    w.advance(seconds=700)
    assert (run.state, len(ran), run.info.summary.failed) == ("done", 6, 0)


@pytest.mark.parametrize("handled", [False, True])
def test_those_of_a_workflow_that_was_cancelled_meanwhile_stay(
    w: World, app: App, work: Any, ran: list[Any], handled: bool
) -> None:
    run = pushed(app, chain(work.si(1), work.si(2)))
    api = w.api.acting_as("ann")
    api.queue("default").clear()
    if handled:
        w.advance(seconds=KEEPER)
    assert run.cancel()
    with pytest.raises(ConflictError, match="the workflow was cancelled"):
        restored(api)
    w.advance(seconds=KEEPER)
    assert (run.state, ran) == ("cancelled", [])


def test_a_search_knows_that_one_has_come_back(w: World, app: App, work: Any) -> None:
    """Else it could take the job for lost, as it was in no place where it has looked."""
    run = pushed(app, chain(work.si(1), work.si(2)))
    api = w.api.acting_as("ann")
    api.queue("default").clear()
    key = f"jobd:workflow:{run.id}"
    before = int(w.redis.hget(key, "moves") or 0)
    restored(api)
    assert int(w.redis.hget(key, "moves") or 0) > before
