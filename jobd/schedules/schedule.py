"""``Schedule``: when a job is pushed by itself, and with which arguments."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict, get_args

from jobd.errors import ArgumentError
from jobd.schedules.line import LONGEST, Line, read

CatchUp = Literal["last", "all", "none"]
Overlap = Literal["skip", "allow"]

GRACE = 600.0
"""Seconds for which a missed tick is caught up with, unless told otherwise."""


class PeriodicOptions(TypedDict, total=False):
    """The options of a job that say when it is pushed by itself."""

    cron: NotRequired[str | Schedule | Sequence[str | Schedule] | None]
    every: NotRequired[float | datetime.timedelta | None]
    tz: NotRequired[str | None]
    catch_up: NotRequired[CatchUp]
    grace: NotRequired[float | datetime.timedelta]
    overlap: NotRequired[Overlap]
    jitter: NotRequired[float | datetime.timedelta]


OPTIONS = frozenset(PeriodicOptions.__annotations__)


@dataclass(frozen=True, slots=True)
class Rules:
    """What happens at a tick.

    Attributes:
        catch_up: which missed ticks are caught up with: the last one, all (100 at most) or none.
        grace: seconds after which a missed tick is not caught up with any more.
        overlap: whether a tick is skipped while the job of an earlier one lives; None for the
            default: skip, and allow for jobs of other programs.
        jitter: the job is due up to so many seconds after the tick, always the same for one tick.
    """

    catch_up: CatchUp = "last"
    grace: float = GRACE
    overlap: Overlap | None = None
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("catch_up", get_args(CatchUp)), ("overlap", get_args(Overlap))):
            value = getattr(self, name)
            if value not in known and not (name == "overlap" and value is None):
                raise ArgumentError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        for name in ("grace", "jitter"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))


def _seconds(name: str, value: object) -> float:
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
        raise ArgumentError(
            f"{name} must be a number of seconds from 0 to {LONGEST:,}, not {value!r}"
        )
    return float(value)


class Schedule:
    """When a job is pushed by itself, with which arguments.

    Args:
        cron: a line of cron: minute, hour, day of the month, month, day of the week; with seconds
            in front if there are six fields. Also ``@daily`` and the like, and ``@every 30s``.
        every: seconds (or a timedelta) between two ticks, instead of *cron*.
        tz: name of the time zone of the line; default UTC, or that of the job.
        args: positional arguments of the job.
        kwargs: its keyword arguments.
        name: a name that is its own among those of an application; default: the job's name, with
            the line if it has several.
        catch_up, grace, overlap, jitter: as for the job, whose values are the default.

    Raises:
        ArgumentError: the line or an option is invalid.

    Example:
        >>> Schedule("0 6 * * *", tz="Europe/Berlin", args=["eu"], name="report-eu").line
        Line(cron='0 6 * * *', tz='Europe/Berlin', every=0.0)
    """

    __slots__ = ("_given", "_rules", "args", "kwargs", "line", "name", "rules")

    def __init__(
        self,
        cron: str | None = None,
        *,
        every: float | datetime.timedelta | None = None,
        tz: str | None = None,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        name: str | None = None,
        catch_up: CatchUp | None = None,
        grace: float | datetime.timedelta | None = None,
        overlap: Overlap | None = None,
        jitter: float | datetime.timedelta | None = None,
    ) -> None:
        if isinstance(args, str | bytes) or not isinstance(args, Sequence):
            raise ArgumentError(f"args of a schedule must be a list, not {args!r}")
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise ArgumentError(f"the name of a schedule must be text, not {name!r}")
        self._given = (cron, every, tz)
        self.line: Line = read(cron, every, tz)  # type: ignore[arg-type]
        self.args: list[object] = list(args)
        self.kwargs: dict[str, object] = dict(kwargs or {})
        self.name = name
        rules = {"catch_up": catch_up, "grace": grace, "overlap": overlap, "jitter": jitter}
        self._rules: dict[str, Any] = {key: one for key, one in rules.items() if one is not None}
        self.rules = checked(self.line, self._rules)

    def within(self, tz: str | None, rules: Mapping[str, object]) -> Schedule:
        """The same, where *tz* and *rules* are the defaults."""
        cron, every, own = self._given
        interval = bool(self.line.every)
        return Schedule(
            cron,
            every=every,
            tz=None if interval else own or tz,
            args=self.args,
            kwargs=self.kwargs,
            name=self.name,
            **{**rules, **self._rules},
        )

    def __repr__(self) -> str:
        return f"<schedule {self.name or ''} {self.line}>"


def checked(line: Line, given: Mapping[str, Any]) -> Rules:
    """The rules that are given for a line.

    Raises:
        ArgumentError: one is invalid, or does not go with the line.
    """
    rules = Rules(**given)
    if line.every and rules.jitter >= line.every:
        raise ArgumentError(
            f"jitter ({rules.jitter:g} s) must be shorter than every ({line.every:g} s)"
        )
    return rules


@dataclass(frozen=True, slots=True)
class Written:
    """A ``[[periodic]]`` of the configuration.

    Attributes:
        job: name of the class.
        options: options of the job that are given there: ``queue``, ``retry``, ``tags``, ``extra``.
        foreign: the job belongs to a program of another language.
        place: where it is written.
    """

    job: str
    schedule: Schedule = field(compare=False)
    source: str  # what was written, by which two are compared
    options: Mapping[str, object] = field(default_factory=dict, compare=False)
    foreign: bool = False
    place: str = ""


def taken(what: str, options: dict[str, Any]) -> tuple[Schedule, ...]:
    """The schedules that the options of a job ask for; takes these out of *options*.

    Raises:
        ArgumentError: they are invalid, or say nothing about when.
    """
    given = {name: options.pop(name) for name in OPTIONS & options.keys()}
    given = {name: value for name, value in given.items() if value is not None}
    cron, every, tz = given.pop("cron", None), given.pop("every", None), given.pop("tz", None)
    try:
        if cron is None and every is None:
            if tz is not None or given:
                names = ", ".join([*(["tz"] if tz else []), *given])
                raise ArgumentError(f"{names}: needs cron or every")
            return ()
        if every is not None:
            return (Schedule(cron, every=every, tz=tz, **given),)
        several = [cron] if isinstance(cron, str | Schedule) else cron
        if not isinstance(several, Sequence):
            raise ArgumentError(f"cron must be a line, a Schedule or a list of these, not {cron!r}")
        made = [one if isinstance(one, Schedule) else Schedule(one) for one in several]
        return tuple(one.within(tz, given) for one in made)
    except ArgumentError as error:
        raise ArgumentError(f"{what}: {error}") from None


def names(job: str, schedules: Sequence[Schedule]) -> list[str]:
    """What the schedules of a job are called.

    >>> names("Add", [Schedule("@daily")]), names("Add", [Schedule("@daily"), Schedule(every=5)])
    (['Add'], ['Add 0 0 * * *', 'Add every 5 s'])
    """
    if len(schedules) == 1:
        return [schedules[0].name or job]
    return [one.name or f"{job} {one.line}" for one in schedules]
