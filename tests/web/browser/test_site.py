"""The manual as a site, in a browser: on a phone, by day and by night, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

for needed in ("sphinx", "furo", "myst_parser"):
    pytest.importorskip(needed)


@pytest.fixture(scope="module")
def pages(manual: Path) -> list[Path]:
    return sorted(manual.glob("*.html"))


def test_no_page_is_wider_than_a_phone(chromium: Browser, pages: list[Path]) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 800})
    wide, trouble = {}, list[str]()
    page.on("requestfailed", lambda request: trouble.append(request.url))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    for file in pages:
        page.goto(file.as_uri())
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 390:
            wide[file.name] = width
    page.close()
    assert not wide
    assert not trouble


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_diagrams_are_those_of_the_color_scheme(
    chromium: Browser, pages: list[Path], scheme: str
) -> None:
    page = chromium.new_page(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(next(file for file in pages if file.name == "architecture.html").as_uri())
    shown = [
        image.get_attribute("src") or ""
        for image in page.query_selector_all("article img")
        if image.is_visible()
    ]
    drawn = page.evaluate("[...document.querySelectorAll('article img')].every(i => i.complete)")
    page.close()
    end = "-dark.svg" if scheme == "dark" else ".svg"
    assert [Path(each).name for each in shown] == [f"processes{end}", f"road{end}"]
    assert drawn


def test_the_search_needs_no_server(chromium: Browser, pages: list[Path]) -> None:
    page = chromium.new_page()
    file = next(file for file in pages if file.name == "search.html")
    page.goto(f"{file.as_uri()}?q=snooze")
    page.wait_for_selector("#search-results li:has-text('Snooze')", timeout=20_000)
    page.close()
