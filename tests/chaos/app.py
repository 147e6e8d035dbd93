"""The application that the daemons of a chaos run load: jobs that note their executions.

A note is one ``write`` to a file opened for appending, so that it is whole and in the kernel's
hands before the job goes on; no kill of the process can take it back. ``b`` is the beginning, ``e``
the end, ``f`` a failure that was intended, ``c`` that it was cancelled, ``x`` that something was
not as the job has a right to expect.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from jobd import DISCARD, JobCancelled, Snooze, current_job, job, on
from tests.chaos.history import token_of
from tests.chaos.misdeeds import RAISED, STARTED, TEXTS, Unwritable

_notes = -1


@on("startup")
def _open_journal() -> None:
    global _notes
    name = f"{os.getpid()}.{time.monotonic_ns()}"
    path = Path(os.environ["CHAOS_JOURNAL"], name)
    _notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def note(what: str) -> None:
    os.write(_notes, f"{what} {token_of(current_job().raw)} {time.monotonic_ns()}\n".encode())


def soon(_count: int, _error: BaseException, _payload: dict[str, Any]) -> float:
    return 0.1


def _never(_count: int, _error: BaseException, _payload: dict[str, Any]) -> Any:
    return DISCARD


@job(name="work")
def work(milliseconds: int) -> None:
    note("b")
    time.sleep(milliseconds / 1000)
    note("e")


@job(name="flaky", retry_in=soon)
def flaky(milliseconds: int, failures: int) -> None:
    """Fails so many times, then succeeds."""
    note("b")
    time.sleep(milliseconds / 1000)
    if current_job().attempt <= failures:
        note("f")
        raise RuntimeError("this attempt was to fail")
    note("e")


@job(name="doomed", retry=0)
def doomed(milliseconds: int) -> None:
    """Ends in the dead set."""
    note("b")
    time.sleep(milliseconds / 1000)
    note("f")
    raise RuntimeError("this job was to die")


@job(name="unwanted", retry_in=_never)
def unwanted(milliseconds: int) -> None:
    """Fails, and is kept nowhere."""
    note("b")
    time.sleep(milliseconds / 1000)
    note("f")
    raise RuntimeError("this job was to be discarded")


@job(name="sleepy")
def sleepy(milliseconds: int, delay: float) -> None:
    """Puts itself off once."""
    note("b")
    time.sleep(milliseconds / 1000)
    if not current_job().payload.get("jobd", {}).get("snoozes"):
        note("f")
        raise Snooze(delay)
    note("e")


@job(name="rests")
async def rests(milliseconds: int) -> int:
    """Sleeps on the event loop."""
    note("b")
    await asyncio.sleep(milliseconds / 1000)
    note("e")
    return milliseconds


@job(name="patient")
def patient(seconds: float) -> None:
    """Waits until it is cancelled."""
    note("b")
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            time.sleep(0.02)
    except JobCancelled:
        note("c")
        raise
    note("e")


@job(name="patient_async")
async def patient_async(seconds: float) -> None:
    """The same on the event loop."""
    note("b")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if current_job().cancelled:
            note("c")
        raise
    note("e")


@job(name="swallow")
def swallow(*_anything: Any) -> None:
    """Takes whatever somebody else has pushed."""
    note("b")
    note("e")


# Jobs that raise what they should not


@job(name="raises", retry_in=soon)
def raises(what: str) -> None:
    """Raises in its first attempt."""
    note("b")
    if current_job().attempt == 1:
        note("f")
        raise RAISED[what]()
    note("e")


@job(name="raises_async", retry_in=soon)
async def raises_async(what: str) -> None:
    """The same on the event loop."""
    await asyncio.sleep(0)
    raises(what)


# Jobs that return what has not run


async def _later() -> None:
    note("b")
    await asyncio.sleep(0.01)
    note("e")


@job(name="awaits")
def awaits() -> Any:
    """What it returns is the work, and must be awaited."""
    return _later()


@job(name="lazy", retry=0)
def lazy() -> Any:
    """What it returns can run no more, and must be refused."""
    note("b")
    note("f")
    return (number for number in range(3))


# Jobs that write hostile text


@job(name="speaks")
def speaks(what: str) -> None:
    note("b")
    log = logging.getLogger("chaos")
    log.warning("%s", TEXTS[what])
    log.warning(TEXTS[what], extra={"about": TEXTS[what]})
    log.warning("%s", Unwritable())
    print(TEXTS[what][:1000], file=sys.stderr)
    note("e")


# Jobs that start processes


@job(name="forks")
def forks(how: str) -> None:
    note("b")
    note("e" if STARTED[how]() else "x")
