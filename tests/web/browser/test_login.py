"""Logging in and out, and what each role sees, in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis as redis_py
from playwright.sync_api import expect

from jobd.api import Api
from jobd.testing import EmbeddedServer
from jobd.web.access.users import hash_password
from tests.api.conftest import job, push
from tests.web.browser import looks
from tests.web.browser.conftest import Open, Windows, dashboard_of

PASSWORD = "correct horse battery staple"
LONG = "bartholomew.featherstonehaugh@warehouse.example.com"


@pytest.fixture(scope="module")
def address(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where somebody has to say who he is."""
    entry = hash_password(PASSWORD)
    users = " ".join(f"{name}:{name}:{entry}" for name in ("viewer", "admin"))
    users += f" {LONG}:operator:{entry}"
    directory = tmp_path_factory.mktemp("dashboard")
    with dashboard_of(directory, server.url, {"JOBD_WEB_USERS": users}) as found:
        yield found


@pytest.fixture
def redis(server: EmbeddedServer) -> Iterator[redis_py.Redis]:
    """Of a dashboard that only a person can use."""
    with redis_py.Redis.from_url(server.url, protocol=2) as client:
        client.flushall()
        yield client


@pytest.mark.parametrize("dark", [False, True], ids=["desk", "phone"])
def test_the_login_page(visit: Open, windows: Windows, redis: redis_py.Redis, dark: bool) -> None:
    page = visit("/dead", width=320 if dark else 1280, dark=dark)
    expect(page).to_have_title("Log in · jobd")
    assert page.evaluate("document.activeElement.name") == "name"
    assert looks.is_dark(page) is dark
    assert looks.serious(page) == []
    assert looks.too_wide(page) == []


def test_wrong_password_right_password_and_out_again(visit: Open, redis: redis_py.Redis) -> None:
    page = visit("/dead", expected="401 ")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    assert looks.serious(page) == []
    assert page.get_by_label("Name").input_value() == "admin"
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Dead", exact=True)).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    page.go_back()
    page.reload()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_who_may_only_look_sees_no_buttons(visit: Open, redis: redis_py.Redis) -> None:
    push(Api(redis), "mail", job(1))
    page = visit("/queues")
    page.get_by_label("Name").fill("viewer")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="mail")).to_be_visible()
    assert page.locator("main form[method=post]").count() == 0
    assert looks.serious(page) == []
    page.get_by_role("link", name="mail").click()
    expect(page.get_by_role("heading", name="mail")).to_be_visible()
    assert page.locator("main button").all_inner_texts() == ["Search"]


_WHO = """() => {
  const [dot, who, help] = ["#pulse", ".who", "#help"].map(
    (one) => document.querySelector(one).getBoundingClientRect());
  const line = parseFloat(getComputedStyle(document.querySelector(".who")).lineHeight);
  return {lines: Math.round(who.height / line), ends: who.right, with: dot.top < who.bottom,
    alone: help.top >= who.bottom};
}"""


def test_a_long_name_has_one_line_at_the_foot(
    visit: Open, windows: Windows, redis: redis_py.Redis
) -> None:
    page = visit("/")
    page.get_by_label("Name").fill(LONG)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    side = page.locator(".side").bounding_box()
    assert side
    found = page.evaluate(_WHO)
    assert found["ends"] < side["x"] + side["width"]
    assert (found["lines"], found["with"], found["alone"]) == (1, True, True)
    assert page.locator(".who").get_attribute("title") == f"{LONG} · operator"
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 850})
        assert looks.too_wide(page) == [], f"{width} pixels"
    assert looks.serious(page) == []
