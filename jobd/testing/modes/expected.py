"""What an assertion expects of a push, and how a push differs from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jobd.errors import ArgumentError
from jobd.jobs import pending
from jobd.jobs.job_class import Job
from jobd.jobs.pushable import Pushable
from jobd.jobs.registry import Definition
from jobd.jobs.signatures import Parameters
from jobd.jobs.times import When, due_at
from jobd.testing.modes.pushed import PushedJob, call_of, short
from jobd.wire.arguments import check_arguments

AnyJob = Pushable[..., object] | type[Job] | str
"""A job, or the name that it has in the payload."""

WithArgs = tuple[tuple[object, ...] | list[object], Mapping[str, object]]

TOLERANCE = 1.0
"""Seconds by which a due time may differ from the expected one."""

_LISTED, _LONG = 10, 40


class Difference(NamedTuple):
    """Where a push differs from what is expected, and how."""

    where: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, got {self.got}"


def named(job: AnyJob) -> tuple[str, Definition | None]:
    """The name of a job and, unless only the name is given, its definition.

    Raises:
        ArgumentError: it is not a job.
    """
    if isinstance(job, str):
        return job, None
    pushable = job._pushable if isinstance(job, type) and issubclass(job, Job) else job
    if isinstance(pushable, Pushable):
        definition = pushable._call.definition
        return definition.name, definition
    raise ArgumentError(
        f"{short(job)} is not a job: give a function with @job, a subclass of Job with perform, or "
        "the name of a job"
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """What an assertion expects.

    Attributes:
        definition: of the job; None if only its name is known.
        arguments: None for any.
        when: when it is due, from a moment on: None for now. None in place of the function: at any
            time.
    """

    name: str
    definition: Definition | None
    arguments: WithArgs | None
    queue: str | None
    when: When | None

    @classmethod
    def of(
        cls,
        job: AnyJob,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        with_args: WithArgs | None,
        in_: When | None,
        at: When | None,
        queue: str | None,
        times: int | None = None,
    ) -> Expected:
        """Check what was given to an assertion.

        Raises:
            ArgumentError: no push could ever be like that.
        """
        name, definition = named(job)
        if in_ is not None and at is not None:
            raise ArgumentError("give either in_ or at, not both")
        when = at if in_ is None else in_
        if when is not None:
            due_at(when, 0.0)  # refuses what is not a time
        arguments = _arguments(name, args, kwargs, with_args)
        if definition is not None:
            _refuse_collision(definition, with_args, in_=in_, at=at, queue=queue, times=times)
            if arguments is not None:
                Parameters(definition).check(*arguments)
        return cls(name, definition, arguments, queue, when)

    def __str__(self) -> str:
        call = f"{self.name}(…)" if self.arguments is None else call_of(self.name, *self.arguments)
        queue = "" if self.queue is None else f" to queue {self.queue!r}"
        return f"{call}{queue}{'' if self.when is None else f', due {_when(self.when)}'}"

    def differences(self, job: PushedJob) -> list[Difference]:
        """How *job*, which has the name, differs; nothing if it is as expected."""
        found = [] if self.arguments is None else self._of_arguments(self.arguments, job)
        if self.queue is not None and self.queue != job.queue:
            found.append(Difference("queue", repr(self.queue), repr(job.queue)))
        if self.when is not None:
            due = due_at(self.when, job.created_at)
            if (due is None) != (job.at is None) or abs((due or 0.0) - (job.at or 0.0)) > TOLERANCE:
                found.append(Difference("due", _time(due, job), _time(job.at, job)))
        return found

    def _of_arguments(self, arguments: WithArgs, job: PushedJob) -> list[Difference]:
        wanted, got = self._bound(*arguments), self._bound(job.args, job.kwargs)
        return [
            difference
            for name in {**wanted, **got}
            for difference in _differences(name, wanted.get(name, _NOT), got.get(name, _NOT))
        ]

    def _bound(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        """The arguments by the names of their parameters, with defaults; by their places, if the
        signature is not known or does not fit."""
        if self.definition is not None:
            try:
                bound = self.definition.signature.bind(*args, **kwargs)
            except TypeError:
                pass
            else:
                bound.apply_defaults()
                return dict(bound.arguments)
        return {**{f"args[{index}]": value for index, value in enumerate(args)}, **kwargs}


class _Not:
    def __repr__(self) -> str:
        return "nothing"


_NOT = _Not()


def _arguments(
    name: str, args: tuple[object, ...], kwargs: Mapping[str, object], with_args: WithArgs | None
) -> WithArgs | None:
    if with_args is None:
        return (args, kwargs) if args or kwargs else None
    if args or kwargs:
        raise ArgumentError(f"{name}: give the arguments either as they are or in with_args")
    match with_args:
        case (tuple() | list() as positional, Mapping() as by_name):
            return positional, by_name
    raise ArgumentError(
        f"{name}: with_args is a pair of positional and keyword arguments, as in "
        f"with_args=((7,), {{'loud': True}}), not {short(with_args)}"
    )


def _refuse_collision(definition: Definition, with_args: object, **options: object) -> None:
    """Refuse an option of the assertion that is the name of an argument of the job, too."""
    for name, value in options.items():
        if value is not None and with_args is None and name in definition.signature.parameters:
            raise ArgumentError(
                f"{definition.name} has an argument called {name!r}, which this assertion takes as "
                "its own; give the arguments as with_args=((…), {…})"
            )


def _differences(where: str, wanted: object, got: object) -> Iterator[Difference]:
    """Where *wanted* and *got* differ, as deep inside as possible."""
    # The expected value decides, so that unittest.mock.ANY and pytest.approx work.
    if wanted == got:
        return
    if type(wanted) is dict and type(got) is dict:
        for key in {**wanted, **got}:
            inside = f"{where}[{key!r}]"
            yield from _differences(inside, wanted.get(key, _NOT), got.get(key, _NOT))
    elif type(wanted) is list and type(got) is list and len(wanted) == len(got):
        for index, (one, other) in enumerate(zip(wanted, got, strict=True)):
            yield from _differences(f"{where}[{index}]", one, other)
    elif type(wanted) is str and type(got) is str and min(len(wanted), len(got)) > _LONG:
        pairs = enumerate(zip(wanted, got, strict=False))
        same = max(0, next((place for place, (one, other) in pairs if one != other), _LONG) - 10)
        inside = f"{where}[{same}:]" if same else where
        yield Difference(inside, short(wanted[same:]), short(got[same:]))
    else:
        yield Difference(where, f"{short(wanted)}{_never(wanted)}", short(got))


def _never(value: object) -> str:
    """A remark on a value that no job ever receives."""
    if type(value).__module__.partition(".")[0] in ("_pytest", "unittest", "jobd"):
        return ""
    try:
        check_arguments([value], {}, ["it"])
    except ArgumentError as error:
        return f" (which no push carries: {error})"
    return ""


def _when(when: When) -> str:
    """*when*, for a push that there is not."""
    at = due_at(when, 0.0)
    if at is None:
        return "now"
    return f"at {when}" if at == due_at(when, 1.0) else f"in {at:,.6g} s"


def _time(at: float | None, job: PushedJob) -> str:
    return "now" if at is None else f"in {at - job.created_at:,.6g} s"


def missing(expected: Expected, pushed: list[PushedJob]) -> str:
    """The message where no push is as *expected*."""
    lines = [f"no push was like {expected}"]
    same = [job for job in pushed if job.name == expected.name]
    if same:
        found = [(len(expected.differences(job)), place) for place, job in enumerate(same)]
        nearest = same[min(found)[1]]
        lines.append(f"nearest: {nearest}")
        lines += [f"    {each}" for each in expected.differences(nearest)]
    return "\n".join([*lines, *listed(pushed), *_held_back()])


def _held_back() -> Iterator[str]:
    """A line on pushes that have not come as far as the mode."""
    if count := pending.waiting():
        yield (
            f"held back until a transaction has committed: {count:,} (in Django's TestCase, commit "
            "with self.captureOnCommitCallbacks(execute=True))"
        )


def listed(pushed: list[PushedJob]) -> Iterator[str]:
    """Lines that say what was pushed."""
    if not pushed:
        yield "nothing was pushed"
        return
    yield f"pushed: {len(pushed):,}"
    yield from (f"    {job}" for job in pushed[:_LISTED])
    if len(pushed) > _LISTED:
        yield f"    and {len(pushed) - _LISTED:,} more"


Wanted = Callable[[PushedJob], bool]


def one_of(jobs: tuple[AnyJob, ...]) -> Wanted:
    """Whether a push is of one of *jobs*; of any, if there are none."""
    names = {named(job)[0] for job in jobs}
    return lambda job: not names or job.name in names
