"""The first page: throughput now, in the last hour and in the last days, queues, and Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static

from jobctl.daemon.display import duration, memory
from jobctl.data.output import fitted
from jobctl.top.charts import bar, columns, short, summed
from jobctl.top.rates import Rates
from jobctl.top.source import Source
from jobctl.top.view import View
from jobd.api.entry import Api
from jobd.api.info import RedisInfo
from jobd.api.queues.queues import QueueSummary
from jobd.api.stats import Day
from jobd.api.troubles import Trouble
from jobd.text.printable import shown

T = TypeVar("T")

_QUEUES = 250
"""Queues that are looked at: as many as one script reads."""

_DAYS = 30
_NARROW = 60
"""Columns below which the charts stand below each other."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the page shows, beside the rates.

    Attributes:
        busy: jobs that run.
        hour: executions and failures by minute.
    """

    queues: list[QueueSummary]
    busy: int
    info: RedisInfo
    troubles: list[Trouble]
    days: list[Day]
    hour: tuple[list[int], list[int]]


class HomeView(View[Look]):
    """The page.

    Args:
        rates: those of the last looks.
    """

    def __init__(self, source: Source, rates: Rates) -> None:
        super().__init__(source, "Home")
        self._rates = rates
        self._read = _Reader()

    def compose(self) -> ComposeResult:
        with Container(id="charts", classes="wide"):
            yield Panel(id="now")
            yield Panel(id="hour")
            yield Panel(id="days")
            yield Panel(id="queues")
        yield Static("", id="redis")

    def on_mount(self) -> None:
        self.can_focus = True

    def take_focus(self) -> None:
        self.focus()

    def on_resize(self, event: events.Resize) -> None:
        self.query_one("#charts").set_class(event.size.width < _NARROW, "narrow")

    def reading(self) -> Callable[[Api], Look]:
        return self._read

    def show(self, found: Look) -> None:
        seen = self._rates.seen
        now = seen[-1] if seen else None
        rate = f"{short(now.processed)}/s" if now else "..."
        bad = f"{short(now.failed)}/s" if now else "..."
        per_second = [each.processed for each in seen], [each.failed for each in seen]
        self._panel("now").draw(
            lambda width, height: two_charts(
                f"executed {rate}", f"failed {bad}", *per_second, width, height
            )
        )
        done, failed = found.hour
        self._panel("hour").draw(
            lambda width, height: two_charts(
                f"last hour {sum(done):,}", f"failed {sum(failed):,}", *found.hour, width, height
            )
        )
        days = list(reversed(found.days))
        of_days = [day.processed for day in days], [day.failed for day in days]
        self._panel("days").draw(
            lambda width, height: two_charts(
                f"{len(days)} days {sum(of_days[0]):,}",
                f"failed {sum(of_days[1]):,}",
                *of_days,
                width,
                height,
            )
        )
        self._panel("queues").draw(
            lambda width, height: queues(found.queues, found.busy, width, height)
        )
        self.query_one("#redis", Static).update(redis(found.info, found.troubles, self.size.width))

    def _panel(self, name: str) -> Panel:
        return self.query_one(f"#{name}", Panel)


class Panel(Static):
    """A part of the page that is drawn for its size."""

    def __init__(self, **how: Any) -> None:
        super().__init__("", **how)
        self._draw: Callable[[int, int], Text] = lambda _width, _height: Text("")

    def draw(self, draw: Callable[[int, int], Text]) -> None:
        """Draw it so, from now on."""
        self._draw = draw
        self._again()

    def on_resize(self) -> None:
        self._again()

    def _again(self) -> None:
        width, height = self.content_size
        if width > 0 and height > 0:
            self.update(self._draw(width, height))


def two_charts(
    title: str,
    second: str,
    values: Sequence[float],
    others: Sequence[float],
    width: int,
    height: int,
) -> Text:
    """Two charts above each other, of which each has its own scale: failures are few."""
    below = max(1, (height - 2) // 3)
    text = Text(no_wrap=True)
    for name, numbers, lines, style in (
        (title, values, max(1, height - 2 - below), "green"),
        (second, others, below, "red"),
    ):
        sums = _spread(numbers, width)
        most = max(sums, default=0)
        peak = f"max {short(most)}"
        gap = width - len(name) - len(peak)
        text.append(fitted(name, width), "bold")
        text.append(f"{peak.rjust(gap + len(peak))}\n" if gap > 0 else "\n", "dim")
        text.append("\n".join(columns(sums, width, lines)) + "\n", style)
    text.right_crop(1)
    return text


def _spread(values: Sequence[float], width: int) -> list[float]:
    """As many values as there is room for: the newest ones of a stream that is longer, sums of
    an hour or a month that is longer, and wider columns where there is room for two of each."""
    found = list(values)
    if len(found) > 60:
        return found[-width:]
    found = summed(found, width)
    times = width // len(found) if found else 1
    return [value for value in found for _ in range(times)]


def queues(found: Sequence[QueueSummary], busy: int, width: int, height: int) -> Text:
    """The queues whose jobs have waited longest."""
    jobs = sum(one.size for one in found)
    text = Text(no_wrap=True)
    text.append(fitted(f"{jobs:,} queued, {busy:,} running", width), "bold")
    longest = sorted(found, key=lambda one: (-one.latency, -one.size, one.name))
    most = max((one.latency for one in found), default=0.0)
    name, number = min(14, max(4, width // 3)), 6
    rest = width - name - 2 * number - 3
    for one in longest[: height - 1]:
        text.append(f"\n{fitted(shown(one.name), name):<{name}} ", "yellow" if one.paused else "")
        if rest > 2:
            text.append(f"{bar(one.latency, most, rest)} ", "cyan")
        waits = "paused" if one.paused else wait(one.latency) if one.size else ""
        text.append(f"{waits:>{number}} {short(one.size):>{number}}")
    if not found:
        text.append("\nno queues", "dim")
    return text


def wait(seconds: float) -> str:
    """How long the oldest job has waited, in its largest unit.

    >>> wait(0.4), wait(75), wait(7300), wait(200_000)
    ('0s', '75s', '2h', '2d')
    """
    if seconds < 100:
        return f"{seconds:.0f}s"
    for unit, each in (("d", 86_400), ("h", 3_600)):
        if seconds >= 2 * each:
            return f"{seconds / each:.0f}{unit}"
    return f"{seconds / 60:.0f}m"


def redis(info: RedisInfo, troubles: Sequence[Trouble], width: int) -> Text:
    """How Redis is, and what is wrong anywhere."""
    room = f" of {memory(info.max_memory)}" if info.max_memory else ""
    facts = [
        f"Redis {info.version}",
        f"{memory(info.used_memory)}{room}, peak {memory(info.peak_memory)}",
        f"{info.latency * 1000:.1f} ms",
        f"{info.clients:,} clients",
        f"{info.commands_per_second:,} commands/s",
        f"up {duration(info.uptime)}",
    ]
    text = Text(fitted(shown("  ".join(facts)), width), no_wrap=True)
    wrong = [*(f"{one.daemon}: {one.text}" for one in troubles), *map(str, info.warnings)]
    for one in wrong[:2]:
        text.append(f"\n{fitted(shown('! ' + one[:500]), width)}", "yellow")
    return text


class _Reader:
    """Reads what the page shows; what changes seldom, or costs more, less often."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Any]] = {}

    def __call__(self, api: Api) -> Look:
        return Look(
            queues=api.queues(_QUEUES),
            busy=self._fresh("busy", 6, lambda: api.work.size),
            info=self._fresh("info", 10, api.info),
            troubles=self._fresh("troubles", 10, api.troubles),
            days=self._fresh("days", 60, lambda: api.history(_DAYS)),
            hour=self._fresh("hour", 30, lambda: _hour(api)),
        )

    def _fresh(self, name: str, seconds: float, read: Callable[[], T]) -> T:
        until, value = self._kept.get(name, (0.0, None))
        now = time.monotonic()
        if now >= until:
            value = read()
            self._kept[name] = (now + seconds, value)
        found: T = value
        return found


def _hour(api: Api) -> tuple[list[int], list[int]]:
    done, failed = [0] * 60, [0] * 60
    for job in api.metrics.top_jobs(minutes=60):
        for at, point in enumerate(job.series):
            done[at] += point.processed
            failed[at] += point.failed
    return done, failed
