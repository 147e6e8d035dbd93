"""Jobs of batches and workflows: they look at what they are given, and note it."""

from __future__ import annotations

import time

from jobd import Batch, FailedStep, current_job, current_step, group, job
from jobd.errors import BatchFinished, JobdError, UnavailableError
from tests.chaos.app import note, soon


@job(name="part")
def part(number: int, milliseconds: int) -> int:
    note("b")
    time.sleep(milliseconds / 1000)
    note("e")
    return number


@job(name="brief")
def brief() -> None:
    """May be too late to run."""
    note("b")
    note("e")


@job(name="falls", retry=0)
def falls() -> None:
    """Ends in the dead set."""
    note("b")
    note("f")
    raise RuntimeError("this step was to fail")


@job(name="called")
def called() -> None:
    """A callback of a batch."""
    note("b")
    note("e")


@job(name="opens", retry_in=soon)
def opens(count: int) -> None:
    """Adds members to its own batch."""
    note("b")
    try:
        with Batch.open(current_job().bid):
            for number in range(count):
                part.perform_async(number, 5)
    except UnavailableError:
        note("f")
        raise
    except BatchFinished:
        pass  # cancelled; or this process was cut off, and another one has ended the job
    note("e")


@job(name="link")
def link(value: int, place: int, milliseconds: int) -> int:
    """Takes the place of the one before it in its chain."""
    note("b")
    time.sleep(milliseconds / 1000)
    note("e" if value == place - 1 else "x")
    return place


@job(name="gather")
def gather(values: list[object], count: int, failed: int) -> int:
    """Takes the numbers of all before it in their order, but for one that has *failed*."""
    note("b")
    seen = [-1 if isinstance(one, FailedStep) else one for one in values]
    note("e" if seen == [-1 if one == failed else one for one in range(count)] else "x")
    return count


@job(name="undo")
def undo(value: int, number: int) -> None:
    note("b")
    note("e" if value == number else "x")


@job(name="alarm")
def alarm(failed: FailedStep) -> None:
    """Is told of a failure."""
    note("b")
    note("e" if isinstance(failed, FailedStep) else "x")


@job(name="grows", retry_in=soon)
def grows(count: int) -> int:
    """Adds steps after itself."""
    note("b")
    try:
        current_step().add(group(part.s(number, 5) for number in range(count)))
    except UnavailableError:
        note("f")
        raise
    except JobdError:
        pass  # this process was cut off, and another one has ended the step
    note("e")
    return 0
