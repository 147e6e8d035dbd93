"""``jobctl tail``: what happens to jobs, line by line, while it happens."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterable

import click
import msgspec

from jobctl import options
from jobctl.data import filters, output
from jobctl.data.connection import connected
from jobctl.data.frame import Command
from jobctl.say import say
from jobd.api.entry import Api
from jobd.api.live.tail import QUEUES, Pushes, Tail
from jobd.errors import RefusedError, UnavailableError
from jobd.text.counting import counted
from jobd.wire.tail import Event

_EVERY = 1.0
"""Seconds between two looks at the queues."""

_PAUSE = 1.0
"""Seconds between two attempts to reach Redis."""

_COLOURS = {"failed": "red", "cancelled": "yellow", "expired": "yellow", "done": "green"}


class Line(msgspec.Struct, frozen=True):
    """A line of JSON; ``event`` is ``left_out`` where *count* events are not shown."""

    at: float
    event: str
    class_: str = msgspec.field(name="class", default="")
    jid: str = ""
    queue: str = ""
    tags: tuple[str, ...] = ()
    process: str = ""
    seconds: float | None = None
    outcome: str = ""
    error: str = ""
    count: int = 1


@click.command(
    cls=Command,
    params=[one for one in filters.options() if one.name in ("class_name", "queue", "tag")],
)
@click.pass_context
def tail(
    context: click.Context, class_name: str | None, queue: str | None, tag: str | None
) -> None:
    """Show jobs as they are pushed, start, end and fail, until Ctrl-C.

    Workers report to Redis only while somebody listens, each process at most 200 events a second:
    failures first, then the newest. Lines say how many were left out, of all classes and queues.
    Pushes are seen by looking at the queues once a second; a job that is claimed before that is
    first seen when it starts.
    """
    api = connected(context)
    fits = _fits(class_name, queue, tag)
    follower = _Follower(api, queue, fits, as_json=options.wants_json(context))
    try:
        follower.follow()
    except KeyboardInterrupt:
        if sys.stdout.isatty():
            click.echo()
    finally:
        follower.close()


def _fits(class_name: str | None, queue: str | None, tag: str | None) -> Callable[[Event], bool]:
    """Whether an event is of a job that is asked for."""

    def fits(event: Event) -> bool:
        return (
            (class_name is None or class_name in (event.class_, event.wrapped))
            and (queue is None or queue == event.queue)
            and (tag is None or tag in event.tags)
        )

    return fits


class _Follower:
    """Follows workers and queues, and prints; goes on after an outage of Redis."""

    def __init__(
        self, api: Api, queue: str | None, fits: Callable[[Event], bool], *, as_json: bool
    ) -> None:
        self._fits = fits
        self._as_json = as_json
        self._tail = Tail(api)
        self._pushes = Pushes(api, queue)
        self._look_at = 0.0
        self._away = False
        self._told: str | None = None

    def close(self) -> None:
        self._tail.close()

    def follow(self) -> None:
        """Returns when the reader of the output has gone.

        Raises:
            UnavailableError: Redis refuses, or has not answered at the first attempt.
        """
        self._step()
        while not _reader_gone():
            try:
                self._step()
            except RefusedError:
                raise
            except UnavailableError as error:
                if not self._away:
                    self._away = True
                    say(f"{error}; what happens until it is back is not shown")
                time.sleep(_PAUSE)
            else:
                if self._away:
                    self._away = False
                    say("Redis is back")

    def _step(self) -> None:
        """Print what comes in until the next look at the queues."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _EVERY
            events, left_out = self._pushes.look()
            self._print(events, "", left_out)
        for report in self._tail.wait(max(0.0, self._look_at - time.monotonic())):
            self._print(report.events, report.process, report.left_out)
        self._tell()

    def _tell(self) -> None:
        """Say who reports, when that has changed."""
        text = f"{counted(self._tail.processes, 'process', 'processes')} of workers will report"
        if not self._tail.processes:
            text = (
                "no process of workers listens, so only pushes are shown: none runs, or its Redis "
                "user may not use the control channel"
            )
        if self._pushes.unwatched:
            text += f"; pushes are shown of {QUEUES} queues only (--queue names another)"
        if text != self._told:
            self._told = text
            say(text)

    def _print(self, events: Iterable[Event], process: str, left_out: int) -> None:
        for event in filter(self._fits, events):
            self._show(
                Line(
                    event.at,
                    event.event,
                    event.wrapped or event.class_,
                    event.jid,
                    event.queue,
                    event.tags,
                    process,
                    event.seconds,
                    event.outcome,
                    event.error,
                )
            )
        if left_out:
            self._show(Line(time.time(), "left_out", process=process, count=left_out))

    def _show(self, line: Line) -> None:
        if self._as_json:
            output.record(line)
            return
        # Not cut where the terminal ends: the error of a failure stands last.
        output.line(_words(line), fg=_COLOURS.get(line.event), dim=line.event == "left_out" or None)


def _words(line: Line) -> str:
    """A line for people."""
    at = time.strftime("%H:%M:%S", time.localtime(line.at)) + f".{int(line.at % 1 * 1000):03}"
    where = ":".join(line.process.split(":")[:2])
    if line.event == "left_out":
        return f"{at}  … {line.count:,} more{' in ' + where if where else ' pushed'}"
    took = "" if line.seconds is None else f"{line.seconds:.3f} s"
    about = ", ".join(filter(None, (line.outcome, line.error)))
    head = f"{at}  {line.event:<9}  {line.queue}  {line.class_ or '(malformed)'}  {line.jid}"
    return "  ".join(filter(None, (head, where, took, about)))


def _reader_gone() -> bool:
    """Whether nobody reads the output any more: seen also while there is nothing to print."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    poller = select.poll()
    poller.register(number, 0)
    return any(seen & select.POLLERR for _, seen in poller.poll(0))
