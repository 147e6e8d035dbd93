"""The lines above every page: where Redis is and how it is, the tabs, the counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.text import Text

from jobctl.daemon.display import duration
from jobctl.data.output import fitted, wide
from jobctl.top.charts import short
from jobctl.top.rates import Rate
from jobd.api.stats import Counters
from jobd.text.printable import shown


def head(where: str, width: int, trouble: str = "", since: float | None = None) -> Text:
    """The first line.

    Args:
        where: which Redis.
        trouble: why it does not answer, if it does not; *since* when (seconds since 1970).
    """
    clock = time.strftime("%H:%M:%S")
    if trouble and since is not None:
        text = f"{duration(max(0.0, time.time() - since))} old: {shown(trouble)}"
        return Text(fitted(text, width), "bold red", no_wrap=True)
    name = "jobctl top  "
    room = width - len(name) - len(clock) - 1
    if room < 8:
        return Text(fitted(f"{clock} {shown(where)}", width), no_wrap=True)
    place = fitted(shown(where), room)
    gap = " " * (width - len(name) - wide(place) - len(clock))
    return Text.assemble((name, "bold"), place, gap, clock, no_wrap=True)


def tabs(names: Sequence[str], active: int, width: int) -> Text:
    """The tabs with their keys; where the screen is too narrow, only the active one.

    >>> tabs(["Home", "Busy"], 1, 20).plain, tabs(["Home", "Busy"], 1, 8).plain
    ('1Home 2Busy', '< 2Busy')
    """
    whole = Text(no_wrap=True)
    for at, name in enumerate(names):
        key = str((at + 1) % 10)
        if at:
            whole.append(" ")
        whole.append(key, "bold reverse" if at == active else "bold cyan")
        whole.append(name, "bold reverse" if at == active else "")
    if whole.cell_len <= width:
        return whole
    text = f"< {(active + 1) % 10}{names[active]} >"
    return Text(text[:width].rstrip(" >") if len(text) > width else text, "bold", no_wrap=True)


def counters(now: Counters | None, rate: Rate, width: int) -> Text:
    """The counters, as many as fit; abridged where not all of them do."""
    if now is None:
        return Text("")
    whole = _counters(now, rate, "{:,}".format)
    parts = whole if sum(part.cell_len + 2 for part in whole) - 2 <= width else None
    line = Text(no_wrap=True)
    for part in parts or _counters(now, rate, short):
        if line.cell_len and line.cell_len + part.cell_len + 2 > width:
            break
        line.append_text(Text("  ") if line.cell_len else Text()).append_text(part)
    return line


def _counters(now: Counters, rate: Rate, number: Callable[[int], str]) -> list[Text]:
    parts = [
        ("done", f"{number(now.processed)} {short(rate.processed)}/s", ""),
        ("failed", f"{number(now.failed)} {short(rate.failed)}/s", "red" if rate.failed else ""),
        ("retries", number(now.retry_size), "yellow" if now.retry_size else ""),
        ("scheduled", number(now.scheduled_size), ""),
        ("dead", number(now.dead_size), "red" if now.dead_size else ""),
        ("processes", number(now.processes_size), "" if now.processes_size else "bold red"),
    ]
    return [Text.assemble((f"{name} ", "dim"), (value, style)) for name, value, style in parts]
