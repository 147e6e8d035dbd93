"""When the functions of ``on`` run, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from jobd.errors import ArgumentError
from jobd.jobs.app import App
from jobd.jobs.hooks import Event


@pytest.fixture
def app() -> App:
    return App()


def unexpected(error: BaseException, context: dict[str, Any]) -> None:
    raise AssertionError(context) from error


@pytest.mark.parametrize(
    ("event", "expected"),
    [("startup", [1, 2]), ("quiet", [2, 1]), ("shutdown", [2, 1]), ("exit", [2, 1])],
)
def test_order_and_once(app: App, event: Event, expected: list[int]) -> None:
    ran: list[int] = []
    app.on(event)(lambda: ran.append(1))
    app.on(event)(lambda: ran.append(2))
    app.hooks.fire(event, unexpected)
    app.hooks.fire(event, unexpected)
    assert ran == expected


def test_decorator_returns_the_function(app: App) -> None:
    @app.on("quiet")
    def pause() -> int:
        return 5

    assert pause() == 5


def test_startup_errors_abort(app: App) -> None:
    ran: list[int] = []

    @app.on("startup")
    def broken() -> None:
        raise ValueError("no model file")

    app.on("startup")(lambda: ran.append(1))
    with pytest.raises(ValueError, match="no model file"):
        app.hooks.fire("startup", unexpected)
    assert not ran


def test_later_errors_are_reported_and_do_not_stop_the_others(app: App) -> None:
    ran: list[int] = []
    told: list[tuple[BaseException, dict[str, Any]]] = []
    app.on("shutdown")(lambda: ran.append(1))

    @app.on("shutdown")
    def broken() -> None:
        raise ValueError("x")

    app.hooks.fire("shutdown", lambda error, context: told.append((error, context)))
    assert ran == [1]
    [(error, context)] = told
    assert isinstance(error, ValueError)
    assert context == {"context": "Exception in the shutdown hook", "event": "shutdown"}


def test_unknown_event(app: App) -> None:
    with pytest.raises(ArgumentError, match="unknown event 'stop'; the events are startup, leader"):
        app.on("stop")  # type: ignore[arg-type]
