"""How a page must look, at a desk in the light and on a phone in the dark, whatever is on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Page, TimeoutError

_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

# Only what is wrong, which is a quarter of the work.
_RUN = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"], iframes: false});
  return found.violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes[0].html}`);
}"""

_FITS = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
_REDRAWN = 2_000
"""Milliseconds that a page has for drawing its charts anew."""

_TOO_WIDE = """() => {
  const most = document.documentElement.clientWidth;
  const text = document.createRange();
  const ends = (each) => {
    text.selectNodeContents(each); // which may run out of a box that is narrow enough
    return Math.max(each.getBoundingClientRect().right, text.getBoundingClientRect().right);
  };
  return [...document.querySelectorAll("main *, .side > *")]
    .filter((each) => ends(each) > most)
    .map((each) => `${each.tagName}.${each.className} ${each.textContent.slice(0, 40)}`);
}"""

_COLOURS = """() => {
  const style = (each) => getComputedStyle(each);
  const grounds = [document.documentElement, ...document.querySelectorAll(".card, .lonely, .side")];
  return {
    grounds: [...new Set(grounds.map((each) => style(each).backgroundColor))],
    texts: [...document.querySelectorAll("h1, h2")].map((each) => style(each).color),
  };
}"""


def serious(page: Page) -> list[str]:
    """What axe-core finds that keeps somebody from using the page."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_AXE)
    found: list[str] = page.evaluate(_RUN)
    return found


def too_wide(page: Page) -> list[str]:
    """What makes the page wider than its window."""
    try:
        page.wait_for_function(_FITS, timeout=_REDRAWN)
    except TimeoutError:
        pass
    else:
        return []
    found: list[str] = page.evaluate(_TOO_WIDE)
    return found or ["something that is in no element of the page"]


def is_dark(page: Page) -> bool:
    """Whether every ground is dark and the headings on it are light; False if it is the other way
    round. Anything in between fails."""
    colours: dict[str, Any] = page.evaluate(_COLOURS)
    grounds, texts = ([_light(colour) for colour in colours[name]] for name in ("grounds", "texts"))
    if max(grounds) < 60 and min(texts, default=255) > 150:
        return True
    assert min(grounds) > 200, colours
    assert max(texts, default=0) < 100, colours
    return False


def _light(colour: str) -> float:
    """From 0 to 255."""
    red, green, blue = (int(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3])
    return 0.3 * red + 0.6 * green + 0.1 * blue
