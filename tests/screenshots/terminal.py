"""The pictures of ``jobctl top``: what Textual exports of a screen, drawn by the browser."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser

from jobctl.top.app import Top
from jobd.api import Api

_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""They would be loaded from elsewhere."""


@dataclass(frozen=True)
class TerminalPicture:
    """One picture.

    Attributes:
        keys: what is pressed first.
        seconds: for which it is looked at.
    """

    name: str
    keys: tuple[str, ...]
    seconds: float = 4.0
    width: int = 100
    height: int = 28


PICTURES = (
    TerminalPicture("top-home", (), 90.0),
    TerminalPicture("top-retries", ("5", "j", "j", "x", "x")),
    TerminalPicture("top-job", ("5", "G", "k", "k", "enter")),
    TerminalPicture("top-batches", ("b",)),
    TerminalPicture("top-trash", ("u",)),
)


def export(url: str, picture: TerminalPicture) -> str:
    """The screen as SVG. Not while the browser runs, which has a loop of its own."""
    return _FONT.sub("", asyncio.run(_svg(url, picture)))


def draw(browser: Browser, svg: str, file: Path) -> None:
    """Draw it."""
    page = browser.new_page(viewport={"width": 1240, "height": 780}, device_scale_factor=1)
    page.set_content(f'<body style="margin:0;width:1220px">{svg}</body>')
    page.locator("svg").screenshot(path=file, omit_background=True)
    page.close()


async def _svg(url: str, picture: TerminalPicture) -> str:
    app = Top(Api(url).acting_as("ada"), "db1:6379")
    async with app.run_test(size=(picture.width, picture.height)) as pilot:
        await pilot.pause(2.0)
        for key in picture.keys:
            await pilot.press(key)
            await pilot.pause(1.0)
        await pilot.pause(picture.seconds)
        return app.export_screenshot(title="jobctl top")
