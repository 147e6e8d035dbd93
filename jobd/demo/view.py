"""The terminal display of the demo."""

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
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jobd.demo.scene import Event, Scene, Worker
from jobd.demo.stage import THREADS, Stage

_BARS = " ▁▂▃▄▅▆▇█"
_HISTORY = 14
_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red"}
# Head, counters with their frame, frame of the events, the cursor's line.
_FIXED_LINES = 1 + 9 + 2 + 1
_SMOOTH = 1.0  # s, over which the rate is averaged


class Rate:
    """Jobs per second, with its history."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._past: deque[float] = deque([0.0] * _HISTORY, maxlen=_HISTORY)
        self.now = 0.0

    def add(self, at: float, count: int) -> None:
        """Record the total *count* at monotonic time *at*."""
        self._seen.append((at, count))
        while len(self._seen) > 2 and at - self._seen[0][0] > _SMOOTH:
            self._seen.popleft()
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        self.now = (after - before) / (last - first) if last > first else 0.0
        self._past.append(self.now)

    def graph(self) -> str:
        """The history as a row of bars."""
        top = max(*self._past, 1.0)
        return "".join(_BARS[round(value / top * (len(_BARS) - 1))] for value in self._past)


class View:
    """A context manager that displays scenes, see :meth:`show`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._began = time.monotonic()
        self._rate = Rate()
        self._before: Scene | None = None
        # Without a refresh thread: the calling loop is fast enough.
        self._live = Live(console=Console(highlight=False), auto_refresh=False)

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
        self._before = scene

    def _all(self, scene: Scene) -> RenderableType:
        upper = Table.grid(expand=True)
        upper.add_column(ratio=5)
        upper.add_column(ratio=4)
        upper.add_row(_panel("jobs", self._jobs(scene)), _panel("workers", _workers(scene)))
        hints = self._hints(scene)
        # The hints must be fully visible, so the events take the remaining lines.
        rows = self._live.console.size.height - _FIXED_LINES - hints.row_count
        events = _panel("events", _events(scene.events, max(3, min(rows, 10))))
        return Group(self._head(scene), upper, events, hints)

    def _head(self, scene: Scene) -> RenderableType:
        seconds = int(time.monotonic() - self._began)
        if scene.daemon_ended:
            state = "[bold red]the daemon has exited[/]; stop with Ctrl-C"
        elif scene.pushing:
            state = "[green]pushing jobs[/]; stop with Ctrl-C"
        elif not scene.settled(self._before):
            state = "no new jobs; the last retries are pending; stop with Ctrl-C"
        else:
            lost = max(0, scene.lost)
            state = f"[bold green]all done, {lost} lost[/]; still running, stop with Ctrl-C"
        clock = f"{seconds // 60}:{seconds % 60:02d}"
        return Text.from_markup(f" [bold]jobd demo[/]  [dim]{clock}[/]  {state}")

    def _jobs(self, scene: Scene) -> RenderableType:
        stats = scene.stats
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(style="bold", min_width=9)
        table.add_column(justify="right", min_width=6)
        table.add_column(style="dim", no_wrap=True)
        rows: list[tuple[str, int, str, str]] = [
            ("pushed", scene.pushed, "", "by examples/app.py"),
            ("done", scene.done, "green", f"{self._rate.now:3.0f}/s {self._rate.graph()}"),
            ("failed", stats.failed, "yellow", "attempts"),
            ("queued", stats.enqueued, "", ""),
            ("retry", stats.retry_size, "yellow", "will be retried"),
            ("scheduled", stats.scheduled_size, "", "for later"),
            ("dead", stats.dead_size, "red", "no more retries"),
        ]
        for name, value, style, note in rows:
            table.add_row(name, Text(f"{value:,}", style=style if value else ""), note)
        return table

    def _hints(self, scene: Scene) -> Table:
        jobctl = _program("jobctl")
        hints = [
            (f"export JOBD_PIDFILE={self._stage.pidfile}", ""),
            (f"{jobctl} status", "what the daemon is doing"),
            (f"{jobctl} threads", "stacks of all threads, with their jobs"),
            (f"export JOBD_REDIS={self._stage.url}", ""),
        ]
        if scene.workers:
            pid = scene.workers[0].pid
            hints.insert(3, (f"kill -9 {pid}", "kills a worker, but not its jobs"))
        if self._stage.prefix:
            hints.append((f"export JOBD_PREFIX={self._stage.prefix}", ""))
        # No frame and no truncation, so that the lines can be copied.
        table = Table.grid(padding=(0, 3, 0, 0))
        table.add_column(style="bold", overflow="fold")
        table.add_row(f"[not bold dim] In a browser:[/] {self._stage.dashboard}")
        table.add_row("[not bold dim] In another terminal:[/]")
        for command, note in hints:
            table.add_row(f"   {command}" + (f"[not bold dim]   # {note}[/]" if note else ""))
        return table


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="bright_black")


def _workers(scene: Scene) -> RenderableType:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True, overflow="ellipsis")
    for worker in scene.workers:
        threads = _threads(worker) if worker.role != "keeper" else Text()
        table.add_row(worker.role, str(worker.pid), threads, worker.state)
    return table


def _threads(worker: Worker) -> Text:
    busy = min(worker.busy, THREADS)
    return Text.assemble(("●" * busy, "green"), ("○" * (THREADS - busy), "bright_black"))


def _events(events: list[Event], rows: int) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    table.add_column(style="dim", no_wrap=True, width=8)
    table.add_column(style="cyan", no_wrap=True, width=8)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for event in events[-rows:]:
        table.add_row(event.time, event.who, Text(event.text, style=_STYLES.get(event.level, "")))
    for _ in range(rows - len(events)):
        table.add_row("", "", "")
    return table


def _program(name: str) -> str:
    """The command for *name* from the current directory."""
    beside = Path(sys.executable).with_name(name)
    if not beside.exists() or shutil.which(name) == str(beside):
        return name
    if beside.is_relative_to(Path.cwd()):
        beside = beside.relative_to(Path.cwd())
    return shlex.quote(str(beside))
