"""Every page of the dashboard, at a desk in the light and on a phone in the dark: of a shop at
work, of an empty Redis, and of one that somebody hostile has filled. The tests only look; one
dashboard serves all tests of a world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis as redis_py

from jobd.api import Api
from jobd.testing import EmbeddedServer
from tests.support import processes
from tests.web.browser import looks, worlds
from tests.web.browser.conftest import Windows, dashboard_of

DESK = 1280
PHONES = (390, 320)

_STATUS = "performance.getEntriesByType('navigation')[0].responseStatus"


@dataclass(frozen=True, slots=True)
class World:
    """A dashboard in use.

    Attributes:
        address: where it is.
        known: what the addresses of its pages name.
    """

    address: str
    known: dict[str, Any]


@pytest.fixture
def windows(windows: Windows) -> Iterator[Windows]:
    yield windows
    windows.close()


@contextmanager
def _world(make: Callable[[Api], dict[str, Any]], directory: Path) -> Iterator[World]:
    with EmbeddedServer(tcp=True) as server:
        processes.servers.append(server)
        with redis_py.Redis.from_url(server.url, protocol=2) as client:
            known = {name: quote(str(value)) for name, value in make(Api(client)).items()}
        with dashboard_of(directory, server.url) as address:
            yield World(address, known)
        processes.servers.remove(server)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with _world(worlds.shop, tmp_path_factory.mktemp("shop")) as made:
        yield made


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with _world(worlds.empty, tmp_path_factory.mktemp("empty")) as made:
        yield made


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with _world(worlds.hostile, tmp_path_factory.mktemp("hostile")) as made:
        yield made


def look(windows: Windows, world: World, name: str, path: str) -> None:
    """At the page, wherever somebody may look at it."""
    status = worlds.REFUSED.get(name, 200)
    page = windows.open(
        world.address + path.format(**world.known),
        width=DESK,
        expected="" if status == 200 else f"{status} ",
    )
    assert page.evaluate(_STATUS) == status
    assert page.locator("h1").count() == 1
    for dark in (False, True):
        page.emulate_media(color_scheme="dark" if dark else "light")
        for width in PHONES if dark else (DESK,):
            page.set_viewport_size({"width": width, "height": 844})
            assert looks.too_wide(page) == [], f"{width} pixels"
        assert looks.is_dark(page) is dark
        if not dark or name in worlds.OF_SHOP:
            assert looks.serious(page) == [], f"dark: {dark}"
    assert page.evaluate("window.hit") is None, "what somebody has written was run"


def but_for(variants: Iterable[str], pages: Iterable[str]) -> list[Any]:
    """The names of *pages*; those of the *variants* are for the long run."""
    return [
        pytest.param(name, marks=[pytest.mark.minutes] if name in variants else [])
        for name in pages
    ]


@pytest.mark.parametrize("name", but_for(worlds.OF_SHOP_TOO, worlds.EVERYWHERE | worlds.OF_SHOP))
def test_a_page_of_a_shop(shop: World, windows: Windows, name: str) -> None:
    look(windows, shop, name, (worlds.EVERYWHERE | worlds.OF_SHOP)[name])


@pytest.mark.parametrize("name", worlds.WHERE_NOTHING_IS)
def test_a_page_of_nothing(empty: World, windows: Windows, name: str) -> None:
    look(windows, empty, name, worlds.EVERYWHERE[name])


@pytest.mark.parametrize("name", but_for(worlds.VARIANTS, worlds.EVERYWHERE | worlds.OF_HOSTILE))
def test_a_page_of_somebody_hostile(hostile: World, windows: Windows, name: str) -> None:
    look(windows, hostile, name, (worlds.EVERYWHERE | worlds.OF_HOSTILE)[name])
