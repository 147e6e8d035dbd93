"""A screen for tests: the program with a pilot, and the text that it shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from textual.pilot import Pilot

from jobctl.top.app import Top
from jobd.api import Api

_SECONDS = 30.0


class Screen:
    """The program that runs.

    Attributes:
        app: the program itself.
    """

    def __init__(self, app: Top, pilot: Pilot[None]) -> None:
        self.app, self._pilot = app, pilot

    @property
    def text(self) -> str:
        """What the screen shows, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(part.text for part in strip).rstrip() for strip in strips)

    @property
    def said(self) -> str:
        """The messages that are shown."""
        return "\n".join(str(one.message) for one in self.app._notifications)

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Type *text*, and enter."""
        for letter in text:
            await self._pilot.press({" ": "space", ":": "colon"}.get(letter, letter))
        await self._pilot.press("enter")

    async def resize(self, width: int, height: int) -> None:
        await self._pilot.resize_terminal(width, height)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for it."""
        end = time.monotonic() + _SECONDS
        while not condition():
            assert time.monotonic() < end, f"not in time: {what}; said: {self.said}\n{self.text}"
            await self._pilot.pause(0.05)

    async def passes(self, seconds: float) -> None:
        """Let time pass, in which the program works."""
        await self._pilot.pause(seconds)

    async def shows(self, *texts: str) -> None:
        """Wait until all of these are on the screen."""
        await self.until(lambda: all(text in self.text for text in texts), str(texts))

    async def tells(self, text: str) -> None:
        """Wait until a message says that."""
        await self.until(lambda: text in self.said, text)


def on_screen(
    api: Api,
    scenario: Callable[[Screen], Coroutine[Any, Any, None]],
    *,
    size: tuple[int, int] = (80, 24),
    every: float = 0.5,
) -> None:
    """Run the program, and *scenario* with it."""

    async def run() -> None:
        app = Top(api.acting_as("tester"), "here", every)
        async with app.run_test(size=size) as pilot:
            screen = Screen(app, pilot)
            await screen.shows("done ")
            await scenario(screen)

    asyncio.run(run())
