"""The program: its lines above and below the pages, the keys of all pages, and the loop that looks.

Each look reads the counters and what the page wants, in one thread, and draws; then comes a pause,
which grows with what that has cost (:mod:`jobctl.top.pace`). While Redis does not answer, what was
read last stays, with how old it is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import time
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Footer, Static

from jobctl.codes import Code
from jobctl.data.sets import SETS
from jobctl.top import keys, lines, pace
from jobctl.top.dialogs import Help, Working
from jobctl.top.finding import found_by_id
from jobctl.top.rates import Rate, Rates
from jobctl.top.source import Source
from jobctl.top.undoing import undo
from jobctl.top.view import Again, AnyView, Opened, View
from jobctl.top.views.audit import AuditView
from jobctl.top.views.batches import BatchesView
from jobctl.top.views.busy import BusyView
from jobctl.top.views.cron import CronView
from jobctl.top.views.groups import GroupsView
from jobctl.top.views.home import HomeView
from jobctl.top.views.metrics import MetricsView
from jobctl.top.views.processes import ProcessesView
from jobctl.top.views.queues import QueuesView
from jobctl.top.views.sets import SetView
from jobctl.top.views.trash import TrashView
from jobctl.top.views.workflows import WorkflowsView
from jobd.api.entry import Api
from jobd.api.stats import Counters
from jobd.errors import JobdError, UnavailableError

T = TypeVar("T")

TABS = (
    ("1", "Home"),
    ("2", "Busy"),
    ("3", "Procs"),
    ("4", "Queues"),
    ("5", "Retries"),
    ("6", "Sched"),
    ("7", "Dead"),
    ("8", "Groups"),
    ("9", "Metrics"),
    ("0", "Cron"),
    ("b", "Batches"),
    ("w", "Workflows"),
    ("u", "Trash"),
    ("a", "Audit"),
)
"""The keys of the pages, and their short names."""


class Top(App[None]):
    """The program.

    Args:
        api: the data API, in the name of who works here.
        where: which Redis, for people; without secrets.
        every: seconds between two looks at least.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = "top.tcss"
    TITLE = "jobctl top"

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"tab({at})", show=False) for at, (key, _) in enumerate(TABS)),
        Binding("right,tab", "next_tab(1)", show=False),
        Binding("left,shift+tab", "next_tab(-1)", show=False),
        Binding("escape,backspace", "back", show=False),
        Binding("r", "look", show=False),
        Binding("f", "find", "Find"),
        Binding("U", "undo", "Undo", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False),
    ]

    def __init__(self, api: Api, where: str, every: float = 2.0) -> None:
        # The terminal's own colours, and with NO_COLOR really none.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.animation_level = "none"
        self.source = Source(api)
        self._where, self._every = where, every
        self._rates = Rates()
        self._rate = Rate(0.0, 0.0)
        self._counters: Counters | None = None
        self._trouble = ""
        self._answered = time.time()
        self._wanted = asyncio.Event()
        self._due: dict[AnyView, float] = {}
        self._tabs: list[AnyView] = []
        self._above: list[AnyView] = []
        self._tab = 0

    # -- the screen ------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        source, sets = self.source, {of.name: of for of in SETS}
        self._tabs = [
            HomeView(source, self._rates),
            BusyView(source),
            ProcessesView(source),
            QueuesView(source),
            SetView(source, sets["retries"]),
            SetView(source, sets["scheduled"]),
            SetView(source, sets["dead"]),
            GroupsView(source),
            MetricsView(source),
            CronView(source),
            BatchesView(source),
            WorkflowsView(source),
            TrashView(source),
            AuditView(source),
        ]
        yield Static("", id="head")
        yield Static("", id="tabs")
        yield Static("", id="counters")
        with Container(id="pages"):
            for at, view in enumerate(self._tabs):
                view.display = at == 0
                yield view
        yield Footer(show_command_palette=False, compact=True)

    @property
    def page(self) -> AnyView:
        """The page that is shown."""
        return self._above[-1] if self._above else self._tabs[self._tab]

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        self.page.take_focus()
        self.run_worker(self._look(), name="look")
        self.set_interval(1.0, self._tick)

    def _hung_up(self) -> None:
        """End; at once if the terminal is gone, where there is nothing left to tidy up."""
        try:
            termios.tcgetattr(0)
        except termios.error:
            os._exit(128 + signal.SIGHUP)
        self.exit()

    def on_resize(self, _event: events.Resize) -> None:
        self.call_after_refresh(self._draw_lines)

    def _tick(self) -> None:
        self._line("head", lines.head(*self._state()))

    def _state(self) -> tuple[str, int, str, float | None]:
        return self._where, self.size.width, self._trouble, self._answered

    def _draw_lines(self) -> None:
        width = self.size.width
        self._tick()
        self._line("tabs", lines.tabs(TABS, self._tab, width))
        self._line("counters", lines.counters(self._counters, self._rate, width))

    def _line(self, name: str, text: Text) -> None:
        for found in self.screen_stack[0].query(f"#{name}").results(Static):
            found.update(text)

    # -- looking ---------------------------------------------------------------------------------

    async def _look(self) -> None:
        while True:
            self._wanted.clear()
            began = time.process_time()
            page, looked = self.page, True
            try:
                looked = await self._look_at(page)
                self._trouble, self._answered = "", time.time()
            except UnavailableError as error:
                self._trouble = str(error)
            except JobdError as error:
                page.complain(str(error))
            self._draw_lines()
            await asyncio.sleep(0)  # what is drawn is a part of what it costs
            used = time.process_time() - began
            pause = pace.pause(self._every, used)
            if looked:
                self._due[page] = time.monotonic() + max(pause, page.every * self._every / 2)
            try:
                await asyncio.wait_for(self._wanted.wait(), pause)
            except TimeoutError:
                continue

    async def _look_at(self, page: View[T]) -> bool:
        """Look at the counters, and at the page if that is due; whether it was."""
        self._counters = await self.source.look(Api.counters)
        now = self._counters
        self._rate = self._rates.add(time.monotonic(), now.processed, now.failed)
        if time.monotonic() < self._due.get(page, 0.0):
            return False
        reading = page.reading()
        if reading is not None:
            found = await self.source.look(reading)
            # It may have been left, or the program, meanwhile: then a part of it may be gone.
            if page is self.page and page.is_attached and page.children:
                page.show(found)
        return True

    def on_again(self, _message: Again) -> None:
        self._look_now()

    def _look_now(self) -> None:
        self._due.pop(self.page, None)
        self._wanted.set()

    # -- pages -----------------------------------------------------------------------------------

    async def on_opened(self, message: Opened) -> None:
        self.page.display = False
        self._above.append(message.view)
        await self.query_one("#pages").mount(message.view)
        self._turned()

    async def action_back(self) -> None:
        """Leave what was begun on the page, or the page."""
        if self.page.back() or not self._above:
            return
        view = self._above.pop()
        self._due.pop(view, None)
        await view.remove()
        self.page.display = True
        self._turned()

    async def action_tab(self, at: int) -> None:
        """Show another tab."""
        self.page.display = False
        left, self._above = self._above, []
        self._tab = at
        for view in left:
            self._due.pop(view, None)
            await view.remove()
        self.page.display = True
        self._turned()

    async def action_next_tab(self, step: int) -> None:
        await self.action_tab((self._tab + step) % len(self._tabs))

    def _turned(self) -> None:
        self.page.take_focus()
        self.page.entered()
        self.refresh_bindings()
        self._draw_lines()
        self._look_now()

    # -- keys ------------------------------------------------------------------------------------

    def action_look(self) -> None:
        """Look at once, also at what is only looked at on demand."""
        self.page.again()
        self._look_now()

    def action_find(self) -> None:
        self.page.begin(found_by_id(self.page))

    def action_undo(self) -> None:
        self.page.begin(undo(self.page))

    def action_help(self) -> None:
        self.push_screen(Help(keys.sections(self.page)))

    def action_interrupt(self) -> None:
        """^C: stop what goes on in steps; end the program otherwise."""
        if isinstance(self.screen, Working) and not self.screen.stopped:
            self.screen.action_stop()
        else:
            self._end()

    def _end(self) -> None:
        """End; say what was done by that which goes on."""
        working = self.screen if isinstance(self.screen, Working) else None
        if working is None:
            self.exit()
        else:
            self.exit(return_code=Code.INTERRUPTED, message=working.told)
