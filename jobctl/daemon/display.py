"""The output of ``jobctl status``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import click

from jobctl.daemon import health
from jobd.master.control.messages import ChildStatus, OutageStatus, PartialStatus
from jobd.text.counting import counted
from jobd.text.printable import cut

_COLOURS = {"running": "green", "ready": "green", "quiet": "yellow", "quieting": "yellow"}
_TROUBLE = {"failed", "stopping", "stopped", "back-off", "none"}
_QUIET = {"quiet", "quieting"}
_COLUMNS = ("PROCESS", "PID", "STATE", "GEN", "UPTIME", "BUSY", "PROCESSED", "FAILED", "MEMORY", "")
_WIDEST = 200  # characters of a cell
_RIGHT = {"PID", "GEN", "UPTIME", "BUSY", "PROCESSED", "FAILED", "MEMORY"}


def duration(seconds: float) -> str:
    """A duration in its two largest units.

    >>> duration(93784)
    '1d 2h'
    """
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {secs:02}s" if minutes else f"{secs}s"


def memory(size: int) -> str:
    """A size in megabytes.

    >>> memory(87 * 1024 * 1024)
    '87 MB'
    """
    return f"{size / 1024 / 1024:,.0f} MB"


def _coloured(state: str, text: str) -> str:
    colour = _COLOURS.get(state) or ("red" if state in _TROUBLE else "cyan")
    return click.style(text, fg=colour, bold=state == "running")


def status(answer: PartialStatus) -> str:
    """The whole display, without a final newline."""
    state = answer.state
    outage = answer.outage
    head = [
        _coloured(state, state.upper()),
        *(click.style(text, fg="red", bold=True) for text in _alarms(answer)),
        f"jobd {answer.version}",
        f"pid {answer.pid}",
        f"up {duration(answer.uptime)}",
        f"generation {answer.generation}",
        memory(answer.rss),
    ]
    lines = [*_degraded(answer), " · ".join(head)]
    lines.append(_since(state, answer.cause, answer.since))
    lines.append(f"redis   {answer.redis}{_outage(outage) if outage else ''}")
    lines.append(f"queues  {', '.join(answer.queues)} ({answer.concurrency} threads per worker)")
    lines.append(f"log     {answer.logfile or 'standard error'}")
    lines.append("")
    keeper = [answer.keeper] if answer.keeper else []
    children = [*answer.workers, *answer.zygotes, *keeper]
    rows = [_row(child, answer.concurrency) for child in children]
    lines.extend(_table(sorted([*rows, *_nobody(answer)], key=_place)))
    lines.extend(_warnings(answer))
    return "\n".join(lines)


def _alarms(answer: PartialStatus) -> Iterator[str]:
    """Why no jobs are taken although the daemon is running."""
    if answer.outage:
        yield "Redis unavailable"
    if answer.state in health.SERVING and not any(
        child.state == "ready" for child in answer.workers
    ):
        yield "no worker is ready"


def _degraded(answer: PartialStatus) -> Iterator[str]:
    """The most important warning, shown first."""
    if answer.degraded:
        # A daemon of an older version does not report the reason.
        why = answer.crash_loop or "processes crash repeatedly; see the log"
        yield click.style(f"DEGRADED: {why}", fg="red", bold=True)


def _since(state: str, cause: str, since: float | None) -> str:
    text = state
    if since is not None:
        text += f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(since))}"
    return f"{text} ({cause})" if cause else text


def _outage(outage: OutageStatus) -> str:
    """The outage of Redis; the table shows which processes it affects."""
    text = f"unavailable for {duration(outage.seconds)}: {outage.error}"
    return "  " + click.style(text, fg="red")


def _place(row: dict[str, str]) -> tuple[int, int]:
    """Sort key of a row: the workers by number, then the others."""
    role, _, number = row["PROCESS"].partition(".")
    return ("worker", "zygote", "keeper").index(role), int(number or 0)


def _nobody(answer: PartialStatus) -> Iterator[dict[str, str]]:
    """Rows for slots without a process."""
    for slot in answer.backing_off:
        text = f"has crashed and is started again in {slot.seconds:g} s"
        yield _empty(slot.role, "back-off", text)
    why = "to be started on resume" if answer.state in _QUIET else "to be started"
    for role in answer.empty:
        yield _empty(role, "none", why)


def _empty(role: str, state: str, text: str) -> dict[str, str]:
    return {**dict.fromkeys(_COLUMNS, ""), "PROCESS": role, "STATE": state, "": text}


def _row(child: ChildStatus, concurrency: int) -> dict[str, str]:
    without_jobs = not child.role.startswith("worker.")
    return {
        "PROCESS": child.role,
        "PID": str(child.pid),
        "STATE": child.state,
        "GEN": str(child.generation),
        "UPTIME": duration(child.uptime),
        "BUSY": "" if without_jobs else _busy(child, concurrency),
        "PROCESSED": "" if without_jobs else f"{child.processed:,}",
        "FAILED": "" if without_jobs else f"{child.failed:,}",
        "MEMORY": memory(child.memory or child.rss),
        "": child.reason,
    }


def _busy(child: ChildStatus, concurrency: int) -> str:
    """How many threads run jobs, and how many async jobs run beside them."""
    beside = f"+{child.coroutines}" if child.coroutines else ""
    return f"{child.busy - child.coroutines}/{concurrency}{beside}"


def _table(rows: list[dict[str, str]]) -> Iterable[str]:
    if not rows:
        return
    # A column is as wide as its widest cell, and there may be many rows.
    rows = [{name: cut(text, _WIDEST) for name, text in row.items()} for row in rows]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}

    def cell(name: str, text: str) -> str:
        return text.rjust(widths[name]) if name in _RIGHT else text.ljust(widths[name])

    yield click.style("  ".join(cell(name, name) for name in widths).rstrip(), dim=True)
    for row in rows:
        cells = {name: cell(name, text) for name, text in row.items()}
        cells["STATE"] = _coloured(row["STATE"], cells["STATE"])
        yield "  ".join(cells.values()).rstrip()


def _warnings(answer: PartialStatus) -> Iterable[str]:
    for slot in answer.backing_off:
        if cause := slot.cause:
            yield click.style(f"! {slot.role} has crashed: {cause}", fg="red")
    for error in dict.fromkeys(child.control for child in answer.workers if child.control):
        text = f"workers obey dashboards with their next heartbeat only, within 10 s: {error}"
        yield click.style(f"! {text}", fg="yellow")
    if short := answer.memory_short:  # not sent by older versions
        yield click.style(f"! {short}", fg="yellow")
    if lost := answer.log_trouble:
        yield click.style(f"! {lost}", fg="red")
    trouble = answer.reload_trouble
    if trouble and trouble != answer.cause:
        yield click.style(f"! {trouble}", fg="red")
    if answer.reload_postponed:  # older versions refuse it instead
        text = "a reload was requested; it will begin on resume"
        yield click.style(f"! {text}", fg="yellow")
    if answer.unrecovered:
        dead = counted(answer.unrecovered, "dead worker")
        text = f"the jobs of {dead} have not been recovered yet"
        yield click.style(f"! {text}", fg="yellow")
