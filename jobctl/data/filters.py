"""Filters of jobs: the options, and the test of a job that they make."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypedDict

import click
import msgspec

from jobctl.data import completing
from jobctl.say import say
from jobd.api.records import JobRecord
from jobd.api.search.groups import in_group
from jobd.api.sets.entries import SortedEntry
from jobd.errors import ArgumentError
from jobd.jobs.times import EPOCH_FROM
from jobd.text.counting import counted
from jobd.wire.json_value import UNREADABLE

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")
_PLAIN = re.compile(r"\d+|[A-Za-z_][A-Za-z0-9_.:-]*")
"""Texts that are the same in all JSON; fractions are not."""

_DEPTH = 20

_TIMELESS = "jobctl.filters.timeless"
"""In what a context carries: the hashes of the jobs without a time that tests of ages have met,
each once, though a command may search twice."""


class Given(TypedDict, total=False):
    """The values of the options, by the names of the fields of :class:`Filters`."""

    class_name: str | None
    queue: str | None
    error: str | None
    tag: str | None
    older: float | None
    newer: float | None
    arg: str | None
    match: str | None
    group: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which jobs are meant: those that fit everything that is given.

    Attributes:
        class_name: their class.
        queue: their queue.
        error: a part of the error's class or message, in any case.
        tag: one of their tags.
        older, newer: seconds since they failed, died or were created, in this order.
        arg: an argument, as JSON or text, at any depth.
        match: a text anywhere in their JSON.
        group: the key of a failure group.
    """

    class_name: str | None = None
    queue: str | None = None
    error: str | None = None
    tag: str | None = None
    older: float | None = None
    newer: float | None = None
    arg: str | None = None
    match: str | None = None
    group: str | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) is not None for one in fields(self))

    @property
    def text(self) -> str | None:
        """What Redis itself can look for: a text that all of these jobs have."""
        if self.match is not None:
            return self.match
        # A mail's name, Mailer#method, is put together from other texts.
        texts = (self.tag, self.arg, self.class_name, self.queue)
        return next((one for one in texts if one and _PLAIN.fullmatch(one)), None)

    def test(self) -> Callable[[JobRecord], bool]:
        """Whether a job is one of these."""
        tests: list[Callable[[JobRecord], bool]] = []
        if (name := self.class_name) is not None:
            tests.append(lambda job: name in (job.klass, job.display_class))
        if (queue := self.queue) is not None:
            tests.append(lambda job: job.queue == queue)
        if (tag := self.tag) is not None:
            tests.append(lambda job: tag in job.tags)
        if (error := self.error) is not None:
            part = error.lower()
            tests.append(lambda job: part in f"{job.error_class}: {job.error_message}".lower())
        if (arg := self.arg) is not None:
            tests.append(_with_argument(arg))
        if self.group is not None:
            tests.append(in_group(self.group))
        if self.older is not None or self.newer is not None:  # last: it counts what it leaves out
            tests.append(_of_age(self.older, self.newer))
        return lambda job: all(test(job) for test in tests)


def options(*, errors: bool = True) -> list[click.Parameter]:
    """The options that are the fields of :class:`Filters`.

    Args:
        errors: whether these jobs can have failed.
    """
    made: list[click.Parameter] = [
        click.Option(
            ["--class", "class_name"],
            metavar="NAME",
            help="Jobs of this class.",
            shell_complete=completing.classes,
        ),
        click.Option(
            ["--queue"],
            metavar="NAME",
            help="Jobs for this queue.",
            shell_complete=completing.queues,
        ),
        click.Option(["--tag"], metavar="TAG", help="Jobs with this tag."),
        click.Option(
            ["--arg"], metavar="VALUE", help="Jobs with this argument: JSON or text, at any depth."
        ),
        click.Option(
            ["--match"], metavar="TEXT", help="Jobs with this text anywhere in their JSON."
        ),
        click.Option(
            ["--older"],
            metavar="AGE",
            callback=_limit,
            help="Failed, died or were pushed longer ago: 90s, 15m, 2h, 3d.",
        ),
        click.Option(
            ["--newer"], metavar="AGE", callback=_limit, help="The same, but less long ago."
        ),
    ]
    if errors:
        made += [
            click.Option(
                ["--error"], metavar="TEXT", help="Jobs with this in the error's class or message."
            ),
            click.Option(
                ["--group"], metavar="KEY", help="Jobs of this group; jobctl groups shows the keys."
            ),
        ]
    return made


def age(_context: click.Context, _option: click.Parameter, given: str | None) -> float | None:
    """A length of time from now of the command line, in seconds."""
    return _parameter(delay_of, given)


def _limit(context: click.Context, _option: click.Parameter, given: str | None) -> float | None:
    """The same as a limit of ages; the command says at its end how many jobs have none."""
    if given is not None and _TIMELESS not in context.meta:
        left_out = context.meta[_TIMELESS] = set[int]()
        context.call_on_close(lambda: _tell(len(left_out)))
    return _parameter(seconds_of, given)


def _parameter(read: Callable[[str], float], given: str | None) -> float | None:
    if given is None:
        return None
    try:
        return read(given)
    except ArgumentError as error:
        raise click.BadParameter(str(error)) from None


def _tell(count: int) -> None:
    if count:
        are = counted(count, "job that says no time was", "jobs that say no time were")
        say(f"{are} left out by --older or --newer")


def seconds_of(given: str) -> float:
    """A length of time as people write it.

    Raises:
        ArgumentError: it is none.

    >>> seconds_of("90s"), seconds_of("1.5h")
    (90.0, 5400.0)
    """
    found = _DURATION.fullmatch(given)
    if found is None:
        raise ArgumentError(f"{given} is not a time such as 90s, 15m, 2h or 3d")
    return float(found[1]) * _UNITS[found[2] or "s"]


def delay_of(given: str) -> float:
    """A length of time from now; one that would be read as seconds since 1970 is refused.

    Raises:
        ArgumentError: it is none, or too long.

    >>> delay_of("90s")
    90.0
    """
    if (seconds := seconds_of(given)) >= EPOCH_FROM:
        raise ArgumentError(f"{given} is too long: it must be less than {EPOCH_FROM:,} seconds")
    return seconds


def _with_argument(given: str) -> Callable[[JobRecord], bool]:
    try:
        decoded: object = msgspec.json.decode(given)
    except UNREADABLE:
        decoded = given

    def holds(value: object, depth: int) -> bool:
        if value == given or (value == decoded and type(value) is type(decoded)):
            return True
        if depth == 0:
            return False
        if isinstance(value, dict):
            value = list(value.values())
        return isinstance(value, list) and any(holds(one, depth - 1) for one in value)

    return lambda job: holds(job.display_args, _DEPTH) or holds(job.display_kwargs, _DEPTH)


def _of_age(older: float | None, newer: float | None) -> Callable[[JobRecord], bool]:
    now = time.time()
    last, first = now - (older or 0), now - newer if newer is not None else float("-inf")

    context = click.get_current_context(silent=True)
    timeless: set[int] = set() if context is None else context.meta.get(_TIMELESS, set())

    def fits(job: JobRecord) -> bool:
        at = _began(job)
        if at is None:
            timeless.add(hash(job.value))
        return at is not None and first <= at <= last

    return fits


def _began(job: JobRecord) -> float | None:
    """Where the age of a job is counted from."""
    if isinstance(job, SortedEntry) and job.parent.name == "dead":
        return job.score
    return job.retried_at or job.failed_at or job.enqueued_at or job.created_at
