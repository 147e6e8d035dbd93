"""The pytest plugin of jobd: the fixtures ``jobs`` and ``jobd_world``, the marker ``jobd``, and the
setting ``jobd_mode``.

It is a module of its own that imports nothing of jobd when it is loaded, so that a test run which
does not use jobd does not pay for it. Without the fixture, the marker or the setting it changes
nothing; it only reports a test that leaves a mode of ``jobd.testing`` open.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jobd.testing import Jobs, World
    from jobd.testing.modes.mode import Mode, Opened

MODES = ("fake", "inline", "refuse", "off")
_MARKER = (
    "jobd(mode, *, server_middleware=True): in this test pushes of jobd are collected ('fake'), "
    "run at once ('inline'), an error ('refuse') or go to Redis ('off')"
)

_mode: pytest.StashKey[Mode[Any]] = pytest.StashKey()
_collected: pytest.StashKey[Jobs | None] = pytest.StashKey()
_before: pytest.StashKey[list[Opened]] = pytest.StashKey()
"""The modes that were open when the test began."""
_held: pytest.StashKey[list[tuple[object, Opened]]] = pytest.StashKey()
"""Those that fixtures for more than one test have entered, with the fixtures."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("jobd_mode", f"what pushes of jobd do in tests: {', '.join(MODES)}", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    mode = config.getini("jobd_mode")
    if mode and mode not in MODES:
        raise pytest.UsageError(f"jobd_mode = {mode}: use one of {', '.join(MODES)}")
    config.stash[_held] = []


@pytest.fixture
def jobs(request: pytest.FixtureRequest) -> Iterator[Jobs]:
    """Pushes of jobd are collected, and this is what was pushed: ``jobs.assert_pushed(welcome, 7)``
    or ``jobs.drain()``."""
    collected = request.node.stash.get(_collected, None)
    if collected is not None:
        yield collected
        return
    marker = request.node.get_closest_marker("jobd")
    if marker is not None:
        pytest.fail(f"the fixture jobs has nothing to show: {_written(marker)}", pytrace=False)
    from jobd.testing import fake

    mode = fake()
    given = mode.enter(f"the fixture jobs of {request.node.nodeid}")
    try:
        yield given
    finally:
        mode.__exit__()


@pytest.fixture
def jobd_world() -> Iterator[World]:
    """Pushes of jobd go to a world without Redis, where ``jobd_world.advance(hours=3)`` runs what
    is due by then: that of ``jobd.testing.world()``."""
    from jobd.testing import world

    with world() as opened:
        yield opened


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    held = [opened for _, opened in item.config.stash[_held]]
    item.stash[_before] = [opened for opened in _open() if opened not in held]
    marker = item.get_closest_marker("jobd")
    name = item.config.getini("jobd_mode")
    if marker is not None or name:
        _enter(item, marker, name)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        result = yield
    except BaseException:
        _leave(item)
        raise
    if left := _leave(item):
        text = "\n".join(f"    {opened}" for opened in left)
        pytest.fail(
            f"{item.nodeid} has left a mode of jobd open; it is closed now:\n{text}\n"
            "Use it in a with statement, as a decorator, or in a fixture that yields inside it",
            pytrace=False,
        )
    return result


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    before = _open()
    try:
        return (yield)
    finally:
        if fixturedef.scope != "function":
            new = [(fixturedef, opened) for opened in _open() if opened not in before]
            request.config.stash[_held] += new


def pytest_fixture_post_finalizer(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> None:
    held = request.config.stash[_held]
    held[:] = [each for each in held if each[0] is not fixturedef]


def _enter(item: pytest.Item, marker: pytest.Mark | None, name: str) -> None:
    from jobd.errors import ArgumentError
    from jobd.testing.modes.kinds import mode_called

    options: dict[str, Any] = {}
    if marker is not None:
        if len(marker.args) != 1:
            pytest.fail(f"{_written(marker)}: give it one mode, of {MODES}", pytrace=False)
        [name], options = marker.args, dict(marker.kwargs)
    wrong = ""
    try:
        mode = mode_called(name, options)
    except ArgumentError as error:
        wrong = str(error)
    if wrong:
        pytest.fail(f"{_written(marker)}: {wrong}", pytrace=False)
    by = "the setting jobd_mode" if marker is None else "the marker"
    item.stash[_collected] = mode.enter(f"{by} for {item.nodeid}")
    item.stash[_mode] = mode


def _leave(item: pytest.Item) -> list[Opened]:
    """End the mode of the test; returns and closes those that it has entered and not left."""
    mode = item.stash.get(_mode, None)
    if mode is not None:
        del item.stash[_mode], item.stash[_collected]
        mode.__exit__()
    if _before not in item.stash:
        return []  # skipped before it began
    known = item.stash[_before] + [opened for _, opened in item.config.stash[_held]]
    left = [opened for opened in _open() if opened not in known]
    for opened in reversed(left):
        opened.close()
    return left


def _open() -> list[Opened]:
    """The modes that are open now."""
    module: Any = sys.modules.get("jobd.testing.modes.mode")
    found: list[Opened] = [] if module is None else module.open_modes()
    return found


def _written(marker: pytest.Mark | None) -> str:
    """*marker* as it stands in the test."""
    if marker is None:
        return "jobd_mode"
    named = [f"{key}={value!r}" for key, value in marker.kwargs.items()]
    return f"@pytest.mark.jobd({', '.join([*map(repr, marker.args), *named])})"
