"""One page: what it reads from Redis, how it shows that, and its keys.

What a page reads is a function of the data API. It is made on the loop of the screen, knows all it
needs, and runs in a thread; what it returns is shown on the loop again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Generic, TypeVar

from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen

from jobctl.data.steps import Steps
from jobctl.top.dialogs import Ask, Prompt, Working
from jobctl.top.source import Source
from jobd.api.entry import Api
from jobd.errors import JobdError, UnavailableError
from jobd.text.counting import counted
from jobd.text.printable import shown

T = TypeVar("T")
R = TypeVar("R")

_ACTING = "acting"

_SAID = 300
"""Characters of a message."""


class Opened(Message):
    """A page is to be shown above this one."""

    def __init__(self, view: AnyView) -> None:
        super().__init__()
        self.view = view


class Again(Message):
    """What is shown has changed: look at once."""


class View(Vertical, Generic[T]):
    """A page.

    Args:
        source: where its data comes from.

    Attributes:
        title: what it is called.
        every: seconds between two looks at least.
    """

    every: ClassVar[float] = 2.0

    def __init__(self, source: Source, title: str) -> None:
        super().__init__()
        self.source, self.title = source, title

    def reading(self) -> Callable[[Api], T] | None:
        """What to read now; None if there is nothing to look at."""
        return None

    def show(self, found: T) -> None:
        """Show what was read."""

    def entered(self) -> None:
        """It is the page that is shown, from now on."""

    def back(self) -> bool:
        """Leave what was begun within the page; whether there was anything."""
        return False

    def again(self) -> None:
        """Prepare to look once more at what is only looked at on demand."""

    def take_focus(self) -> None:
        """Let the keys go to its first part that takes any."""
        for widget in self.query("*"):
            if widget.focusable:
                widget.focus()
                return

    def look_again(self) -> None:
        """Look at once."""
        self.post_message(Again())

    def open(self, view: View[R]) -> None:
        """Show another page above this one."""
        self.post_message(Opened(view))

    # -- acting ----------------------------------------------------------------------------------

    def begin(self, work: Coroutine[object, None, object]) -> None:
        """Do something that asks, or that waits for Redis, while the page goes on; one at a time: a
        key that is pressed twice asks once."""
        if any(one.group == _ACTING and not one.is_finished for one in self.workers):
            work.close()
        else:
            self.run_worker(self.told(work), group=_ACTING)

    async def told(self, work: Coroutine[object, None, object]) -> None:
        """Do it; what goes wrong is told."""
        try:
            await work
        except JobdError as error:
            self.complain(str(error))
        self.look_again()

    async def ask(self, question: str) -> bool:
        """Whether somebody wants that."""
        screen: Screen[bool] = Ask(question)
        return await self.app.push_screen_wait(screen)

    async def prompt(self, label: str, text: str = "", hint: str = "") -> str | None:
        """What somebody types; None for nothing."""
        screen: Screen[str | None] = Prompt(label, text, hint)
        return await self.app.push_screen_wait(screen)

    async def in_steps(self, what: str, steps: Steps, total: int) -> int:
        """Take all steps, with their progress; returns how many jobs they have changed."""
        screen, changed = Working(what), 0
        await self.app.push_screen(screen)
        try:
            while not steps.done and not screen.stopped:
                changed += await self.source.act(lambda _: steps.step())
                screen.progress(steps.scanned, total, changed)
        except UnavailableError as error:
            raise type(error)(f"{error}. Before that: {counted(changed, 'job')}") from None
        finally:
            screen.dismiss(None)
        if not steps.done:
            self.complain("stopped: the others were not touched")
        return changed

    def say(self, text: str) -> None:
        """Tell what was done."""
        self.app.notify(shown(text[:_SAID]), markup=False)

    def complain(self, text: str) -> None:
        """Tell what could not be done."""
        self.app.notify(shown(text[:_SAID]), severity="error", timeout=8, markup=False)


AnyView = View[Any]
