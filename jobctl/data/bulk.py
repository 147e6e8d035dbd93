"""Actions on many jobs: asking before, a line of progress during them, ^C between two steps.

A step is one script in Redis, so an action that is interrupted has done a whole number of steps,
and says how many jobs those were.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import click
import msgspec

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.data import output
from jobctl.data.frame import code_of
from jobctl.data.steps import Steps
from jobd.api.search.scans import Scan
from jobd.errors import UnavailableError
from jobd.text.counting import counted

T = TypeVar("T")

_EVERY = 0.2
"""Seconds between two lines of progress."""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=False):
    """What an action has done, as JSON: ``ref`` is its id in the audit log and in the trash, if it
    can be undone."""

    changed: int
    dry_run: bool = False
    ref: str = ""


class Progress:
    """One line on the terminal that says how far something is; nothing where there is none."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total = what, total
        self._next = time.monotonic() + 2 * _EVERY
        self._shown = False
        self._on = output.has_terminal()

    def show(self, scanned: int, changed: int | None = None) -> None:
        """Show it, if the last time is long enough ago."""
        if not self._on or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        share = ""
        if self._total:
            share = f" of {self._total:,} ({min(100, 100 * scanned // self._total)} %)"
        found = "" if changed is None else f", {changed:,} so far"
        output.transient(f"{self._what}: {scanned:,}{share}{found}")
        self._shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            output.transient("")
            self._shown = False


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """While this lasts, ^C is only noted; the second one takes effect at once. Gives what tells
    whether there was one."""
    seen = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            raise KeyboardInterrupt
        seen = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, before)


def run(
    steps: Steps,
    what: str,
    total: int | None,
    done: Callable[[int], str],
    ref: Callable[[], str] = str,
    rest: str = "The others were not touched; the same command goes on with them.",
) -> int:
    """Take all of these steps; returns how many jobs were changed.

    Args:
        what: for the line of progress, ``deleting`` for example.
        done: what has been done to a number of jobs, as a sentence.
        ref: the id of that in the trash, where it can be undone.
        rest: what is said of the others if it is interrupted.

    Raises:
        Problem: it was interrupted, or Redis does not answer any more; says what was done.
    """
    progress, changed = Progress(what, total), 0

    def said() -> str:
        back = f" Undo: jobctl trash restore {ref()}." if changed and ref() else ""
        return f"{done(changed)}{back}"

    with interruptible() as interrupted:
        try:
            while not steps.done:
                if interrupted():
                    raise Problem(Code.INTERRUPTED, f"interrupted. {said()} {rest}".strip())
                changed += steps.step()
                progress.show(steps.scanned, changed)
        except UnavailableError as error:
            raise Problem(code_of(error), f"{error}. Before that: {said()}") from None
        finally:
            progress.clear()
    return changed


def confirm(context: click.Context, question: str, *, yes: bool) -> None:
    """Ask before an action; refuse where nobody can answer.

    Raises:
        Problem: the answer is no.
        UsageError: there is no terminal, and no --yes.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        rehearsed = ", or --dry-run to see what" if "dry_run" in context.params else ""
        raise click.UsageError(f"{question} Give --yes to do it{rehearsed}", context)
    if not click.confirm(question, err=True):
        raise Problem(Code.FAILED, "nothing was changed")


def report(context: click.Context, outcome: Outcome, text: str) -> None:
    """Say what was done."""
    if options.wants_json(context):
        output.record(outcome)
        return
    output.line(text)
    if outcome.ref and outcome.changed:
        output.line(f"Undo within a day: jobctl trash restore {outcome.ref}", dim=True)


def report_named(context: click.Context, outcome: Outcome, text: str, named: int) -> None:
    """Say what was done to so many jobs that were named by their ids and were there.

    Raises:
        Problem: nothing was done to some of them.
    """
    report(context, outcome, text)
    if left := named - outcome.changed:
        which = f" to {left:,} of {named:,} jobs" if named > 1 else ""
        raise Problem(
            Code.FAILED,
            f"nothing was done{which}: no longer there, kept out by other jobs, or not a job; "
            "jobctl why JID says where a job is",
        )


def rehearsed(context: click.Context, count: int, effect: str, meant: str = "") -> None:
    """Say what would be done to so many jobs, or to what is *meant*."""
    if options.wants_json(context):
        output.record(Outcome(count, dry_run=True))
    else:
        meant = meant or counted(count, "job")
        output.line(f"{meant}. {effect} Nothing was changed (--dry-run).".strip())


def searched(scan: Scan[T], size: int) -> Iterator[T]:
    """What *scan* finds among *size* jobs, with its progress on the terminal."""
    progress = Progress("searching", size)
    try:
        while not scan.done:
            found = scan.next()
            if found:
                progress.clear()
            yield from found
            progress.show(scan.scanned)
    finally:
        progress.clear()
