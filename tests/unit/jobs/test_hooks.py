"""When the functions of ``on`` run, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from jobd.errors import ArgumentError
from jobd.jobs import hooks
from jobd.jobs.hooks import Event, fire, on


@pytest.fixture(autouse=True)
def no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_hooks", {event: [] for event in hooks._hooks})


def unexpected(error: BaseException, context: dict[str, Any]) -> None:
    raise AssertionError(context) from error


@pytest.mark.parametrize(
    ("event", "expected"),
    [("startup", [1, 2]), ("quiet", [2, 1]), ("shutdown", [2, 1]), ("exit", [2, 1])],
)
def test_order_and_once(event: Event, expected: list[int]) -> None:
    ran: list[int] = []
    on(event)(lambda: ran.append(1))
    on(event)(lambda: ran.append(2))
    fire(event, unexpected)
    fire(event, unexpected)
    assert ran == expected


def test_decorator_returns_the_function() -> None:
    @on("quiet")
    def pause() -> int:
        return 5

    assert pause() == 5


def test_startup_errors_abort() -> None:
    ran: list[int] = []

    @on("startup")
    def broken() -> None:
        raise ValueError("no model file")

    on("startup")(lambda: ran.append(1))
    with pytest.raises(ValueError, match="no model file"):
        fire("startup", unexpected)
    assert not ran


def test_later_errors_are_reported_and_do_not_stop_the_others() -> None:
    ran: list[int] = []
    told: list[tuple[BaseException, dict[str, Any]]] = []
    on("shutdown")(lambda: ran.append(1))

    @on("shutdown")
    def broken() -> None:
        raise ValueError("x")

    fire("shutdown", lambda error, context: told.append((error, context)))
    assert ran == [1]
    [(error, context)] = told
    assert isinstance(error, ValueError)
    assert context == {"context": "Exception in the shutdown hook", "event": "shutdown"}


def test_unknown_event() -> None:
    with pytest.raises(ArgumentError, match="no event 'stop'; the events are startup, quiet"):
        on("stop")  # type: ignore[arg-type]
