"""The demo on a terminal."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections import deque
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jobd.demo.stage import THREADS, Event, Scene, Stage, Worker

_BARS = " ▁▂▃▄▅▆▇█"
_HISTORY = 24
_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red"}
_SMOOTH = 1.0  # s, over which the rate is taken


class Rate:
    """Jobs per second now, and how it went."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._past: deque[float] = deque([0.0] * _HISTORY, maxlen=_HISTORY)
        self.now = 0.0

    def add(self, at: float, count: int) -> None:
        """Take the total *count* at monotonic time *at*."""
        self._seen.append((at, count))
        while len(self._seen) > 2 and at - self._seen[0][0] > _SMOOTH:
            self._seen.popleft()
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        self.now = (after - before) / (last - first) if last > first else 0.0
        self._past.append(self.now)

    def graph(self) -> str:
        """The past as a row of bars."""
        top = max(*self._past, 1.0)
        return "".join(_BARS[round(value / top * (len(_BARS) - 1))] for value in self._past)


class View:
    """Use it in a ``with`` statement and :meth:`show` scenes."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._began = time.monotonic()
        self._rate = Rate()
        # Without a thread of its own: the loop that shows the scenes is fast enough.
        self._live = Live(console=Console(), auto_refresh=False, transient=False)

    def __enter__(self) -> View:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, scene: Scene) -> None:
        """Draw *scene*."""
        self._rate.add(time.monotonic(), scene.stats.processed)
        self._live.update(self._all(scene), refresh=True)

    def _all(self, scene: Scene) -> RenderableType:
        upper = Table.grid(expand=True, padding=(0, 1, 0, 0))
        upper.add_column(ratio=1)
        upper.add_column(ratio=1)
        upper.add_row(
            Panel(self._jobs(scene), title="jobs", title_align="left", border_style="cyan"),
            Panel(_workers(scene), title="workers", title_align="left", border_style="cyan"),
        )
        events = Panel(
            _events(scene.events), title="events", title_align="left", border_style="bright_black"
        )
        return Group(self._head(scene), upper, events, self._hints(scene))

    def _head(self, scene: Scene) -> RenderableType:
        seconds = int(time.monotonic() - self._began)
        if scene.daemon_ended:
            state = "[bold red]the daemon has ended[/]: Ctrl-C ends the demo"
        elif scene.pushing:
            state = "[green]work is coming in[/]"
        elif not scene.settled:
            state = "no new work; the last retries are on their way"
        else:
            lost = scene.pushed - scene.done - scene.stats.dead
            # A killed worker's job may have run twice: that is what "at least once" means.
            state = f"[bold green]all done, {max(0, lost)} lost[/]: still up, Ctrl-C ends it"
        clock = f"{seconds // 60}:{seconds % 60:02d}"
        return Text.from_markup(f" [bold]jobd demo[/]  [dim]{clock}[/]  {state}")

    def _jobs(self, scene: Scene) -> RenderableType:
        stats = scene.stats
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="bold")
        table.add_column(justify="right")
        table.add_column(style="dim", no_wrap=True)
        rows: list[tuple[str, int, str, str]] = [
            ("pushed", scene.pushed, "", "by an application of its own"),
            ("done", scene.done, "green", f"{self._rate.now:.0f}/s {self._rate.graph()}"),
            ("failed", stats.failed, "yellow" if stats.failed else "", "and tried again"),
            ("queued", stats.enqueued, "", "wait for a thread"),
            ("retry", stats.retries, "yellow" if stats.retries else "", "wait for another try"),
            ("scheduled", stats.scheduled, "", "wait for their time"),
            ("dead", stats.dead, "red" if stats.dead else "", "given up, kept to be looked at"),
        ]
        for name, value, style, note in rows:
            table.add_row(name, Text(f"{value:,}", style=style), note)
        return table

    def _hints(self, scene: Scene) -> RenderableType:
        jobctl = f"{_program('jobctl')} --pidfile {self._stage.pidfile}"
        victim = scene.workers[0].pid if scene.workers else 0
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(style="dim")
        table.add_row(f"{jobctl} status", "")
        table.add_row(f"{jobctl} threads", "what every thread is doing")
        table.add_row(f"kill -9 {victim}", "a worker dies: its jobs run elsewhere, nothing is lost")
        table.add_row(f"tail -f {self._stage.logfile}", "")
        table.add_row(f"export JOBD_REDIS={self._stage.url}", "the server, for programs of yours")
        if self._stage.prefix:
            table.add_row(f"export JOBD_PREFIX={self._stage.prefix}", "")
        return Panel(
            table, title="try in another terminal", title_align="left", border_style="green"
        )


def _workers(scene: Scene) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    for worker in scene.workers:
        table.add_row(worker.role, f"pid {worker.pid}", _threads(worker), worker.state)
    return table


def _threads(worker: Worker) -> Text:
    busy = min(worker.busy, THREADS)
    return Text.assemble(("●" * busy, "green"), ("○" * (THREADS - busy), "bright_black"))


def _events(events: list[Event]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for event in events[-8:]:
        text = escape(event.text)
        table.add_row(event.time, event.who, Text(text, style=_STYLES.get(event.level, "")))
    for _ in range(8 - len(events[-8:])):
        table.add_row("", "", "")
    return table


def _program(name: str) -> str:
    """How to call *name* from this directory."""
    beside = Path(sys.executable).with_name(name)
    if not beside.exists() or shutil.which(name) == str(beside):
        return name
    if beside.is_relative_to(Path.cwd()):
        beside = beside.relative_to(Path.cwd())
    return shlex.quote(str(beside))
