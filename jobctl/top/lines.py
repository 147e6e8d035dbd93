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


def tabs(pages: Sequence[tuple[str, str]], active: int, width: int) -> Text:
    """The tabs: keys and names. Where the screen is too narrow, those that are far from the active
    one have no names; then there is only the active one.

    >>> tabs([("1", "Home"), ("2", "Busy"), ("b", "Batches")], 1, 21).plain
    '1Home 2Busy bBatches'
    >>> tabs([("1", "Home"), ("2", "Busy"), ("b", "Batches")], 1, 17).plain
    '1Home 2Busy b'
    >>> tabs([("1", "Home"), ("2", "Busy"), ("b", "Batches")], 1, 8).plain
    '< 2Busy'
    """
    names = [name for _, name in pages]
    for at in sorted(range(len(pages)), key=lambda at: -abs(at - active)):
        if at == active or sum(map(len, names)) + 2 * len(pages) - 1 <= width:
            break
        names[at] = ""
    whole = Text(" ", no_wrap=True).join(
        Text.assemble(
            (key, "bold reverse" if at == active else "bold cyan"),
            (name, "bold reverse" if at == active else ""),
        )
        for at, ((key, _), name) in enumerate(zip(pages, names, strict=True))
    )
    if whole.cell_len <= width:
        return whole
    text = f"< {''.join(pages[active])} >"
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
