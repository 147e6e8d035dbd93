"""Every page of the dashboard, at a desk in the light and on a phone in the dark: of a shop at
work, of an empty Redis, and of one that somebody hostile has filled. The tests only look; one
dashboard serves all tests of a world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import redis as redis_py

from jobd.api import Api
from jobd.testing import EmbeddedServer
from tests import processes
from tests.web.browser import looks, worlds
from tests.web.browser.conftest import Windows, dashboard_of

pytestmark = pytest.mark.xdist_group("browser")

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


@pytest.fixture(scope="module")
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    make: Callable[[Api], dict[str, Any]] = request.param
    with EmbeddedServer(tcp=True) as server:
        processes.servers.append(server)
        with redis_py.Redis.from_url(server.url, protocol=2) as client:
            known = {name: quote(str(value)) for name, value in make(Api(client)).items()}
        with dashboard_of(tmp_path_factory.mktemp(make.__name__), server.url) as address:
            yield World(address, known)
        processes.servers.remove(server)


WORLDS = (
    (worlds.shop, worlds.EVERYWHERE | worlds.OF_SHOP),
    (worlds.empty, worlds.EVERYWHERE),
    (worlds.hostile, worlds.EVERYWHERE | worlds.OF_HOSTILE),
)

PAGES = [
    pytest.param(make, name, path, id=f"{make.__name__}-{name}")
    for make, pages in WORLDS
    for name, path in pages.items()
]


@pytest.mark.parametrize(("world", "name", "path"), PAGES, indirect=["world"])
def test_a_page(world: World, windows: Windows, name: str, path: str) -> None:
    status = worlds.REFUSED.get(name, 200)
    for dark in (False, True):
        page = windows.open(
            world.address + path.format(**world.known),
            width=PHONES[0] if dark else DESK,
            dark=dark,
            expected="" if status == 200 else f"{status} ",
        )
        assert page.evaluate(_STATUS) == status
        assert page.locator("h1").count() == 1
        assert looks.is_dark(page) is dark
        assert looks.serious(page) == [], f"dark: {dark}"
        for width in PHONES if dark else (DESK,):
            page.set_viewport_size({"width": width, "height": 844})
            assert looks.too_wide(page) == [], f"{width} pixels"
        assert page.evaluate("window.hit") is None, "what somebody has written was run"
