"""``jobctl wait``: until a job has ended, with its progress."""

from __future__ import annotations

import time
from dataclasses import dataclass

import click
import msgspec

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.daemon.display import duration
from jobctl.data import common, jobview, output
from jobctl.data.connection import connected
from jobctl.data.frame import Command, not_found
from jobctl.data.locating import in_flight, locate
from jobctl.data.words import error_of
from jobctl.say import say
from jobd.api.entry import Api
from jobd.api.features.held_back import LOCK
from jobd.api.find import WORK, Found
from jobd.api.queues.finding import QueuedKey
from jobd.api.sets.entries import SortedEntry
from jobd.api.sets.sets import DeadSet, RetrySet, ScheduledSet
from jobd.errors import RefusedError, UnavailableError
from jobd.wire.progress import Progress

_PAUSE = 0.25
"""Seconds between two looks."""

_SETS = {"retry": RetrySet, "schedule": ScheduledSet, "dead": DeadSet}

_BAR = 20
"""Characters of the bar."""


class Ended(msgspec.Struct, frozen=True):
    """How a job has ended, as JSON: ``state`` is ``done``, ``failed``, ``cancelled``, ``expired``,
    or ``gone`` where no result is kept and the job is nowhere any more."""

    jid: str
    state: str
    error: str | None = None
    value: object = None


@click.command(cls=Command, params=[click.Argument(["jid"]), common.in_queue()])
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Wait no longer; the job goes on.",
)
@click.pass_context
def wait(context: click.Context, jid: str, queue: str | None, timeout: float | None) -> int:
    """Wait until the job JID has ended; shows its progress, and prints what it has returned.

    A failed attempt is not the end while the job will be retried. The exit code is 0 if it is
    done, 1 if it has failed for good, was cancelled or expired, 5 if that takes too long. A job
    that keeps no result is over when it is nowhere any more.
    """
    api = connected(context)
    watch, shown = _Watch(api, jid, queue), _Line()
    end = float("inf") if timeout is None else time.monotonic() + timeout
    try:
        while (ended := watch.look_again()) is None:
            shown.show(watch)
            if time.monotonic() >= end:
                raise Problem(Code.TIMED_OUT, f"{jid} has not ended: {watch.where}; it goes on")
            time.sleep(_PAUSE)
    finally:
        shown.clear()
    if ended.state == "unknown":
        raise not_found(f"there is no job {jid}: it is done, was deleted, or was never pushed")
    if options.wants_json(context):
        output.record(ended)
    elif ended.state == "done":
        output.record(ended.value)
    elif ended.state == "gone":
        output.line("ended (no result is kept)")
    else:
        output.line(f"{ended.state}{': ' + ended.error if ended.error else ''}", fg="red")
    return Code.DONE if ended.state in ("done", "gone") else Code.FAILED


@dataclass(slots=True)
class _Watch:
    """Where a job is, look by look; cheap while it stays where it is."""

    api: Api
    jid: str
    queue: str | None
    found: Found | None = None
    seen: bool = False
    away: bool = False
    progress: Progress | None = None

    @property
    def where(self) -> str:
        return "" if self.found is None else jobview.where(self.found.place)

    def look_again(self) -> Ended | None:
        """The same; an outage of Redis after the first look does not end the waiting.

        Raises:
            UnavailableError: Redis refuses, or has not answered at the first look.
        """
        try:
            ended = self.look()
        except RefusedError:
            raise
        except UnavailableError as error:
            if not self.seen:
                raise
            if not self.away:
                self.away = True
                say(f"{error}; waiting for it, too")
            return None
        self.away = False
        return ended

    def look(self) -> Ended | None:
        """How it has ended; None if it has not."""
        try:
            result = self.api.result(self.jid)
        except KeyError:
            result = None
        if result is not None and result.info.state in ("done", "failed", "cancelled", "expired"):
            return Ended(self.jid, result.info.state, result.info.error, result.value)
        self._find()
        if self.found is None:
            # A second look: it may have moved during the first.
            self._find()
        if self.found is None:
            return Ended(self.jid, "gone" if self.seen else "unknown")
        self.seen = True
        if self.found.place == "dead":
            return Ended(self.jid, "failed", error_of(self.found.job))
        return None

    def _find(self) -> None:
        work = self.api.work.find_work(self.jid)
        self.progress = None if work is None else work.progress
        if work is not None:
            self.found = Found(WORK, work.job)
        elif (running := in_flight(self.api, self.jid)) is not None:
            self.found = Found(WORK, running)
        elif not self._is_there():
            self.found = locate(self.api, self.jid, self.queue)

    def _is_there(self) -> bool:
        """Whether it is where it was; a short look."""
        if self.found is None or self.found.place in (WORK, LOCK):
            return False
        job = self.found.job
        if isinstance(job, SortedEntry):
            return _SETS[job.parent.name](self.api).find(job.key) is not None
        key = QueuedKey(job.digest, job.jid, job.before)
        return bool(self.api.queue(job.queue).find_all([key], seconds=_PAUSE))


class _Line:
    """The line of progress, on a terminal."""

    def __init__(self) -> None:
        self._on = output.has_terminal()
        self._last = ""

    def show(self, watch: _Watch) -> None:
        text = watch.where
        if (seen := watch.progress) is not None:
            text = progress_of(seen)
        if self._on and text != self._last:
            self._last = text
            output.transient(text)

    def clear(self) -> None:
        if self._last:
            output.transient("")


def progress_of(seen: Progress) -> str:
    """A report of progress in a line.

    >>> progress_of(Progress("ab", 1, 30, 20.0, total=60, note="mails"))
    '[##########          ] 30/60 mails'
    """
    if not seen.total:
        return f"{seen.done:g} {seen.note}".rstrip()
    full = min(_BAR, max(0, int(_BAR * (seen.fraction or 0))))
    left = seen.left(time.time())
    after = f", {duration(left)} left" if left is not None and seen.rate else ""
    bar = "#" * full + " " * (_BAR - full)
    return f"[{bar}] {seen.done:g}/{seen.total:g} {seen.note}{after}".rstrip()
