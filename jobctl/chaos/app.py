"""The application that these daemons load: jobs that note their executions.

A note is one ``write`` to a file opened for appending, so that it is whole and in the kernel's
hands before the job goes on. ``b`` is the beginning, ``e`` the end, ``f`` a failure that was
intended.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from jobctl.chaos import journal
from jobd.errors import Snooze
from jobd.jobs.app import default
from jobd.jobs.context import current_job

_notes = -1


@default.on("startup")
def _open_journal() -> None:
    global _notes
    path = Path(os.environ[journal.DIRECTORY], f"{os.getpid()}.{time.monotonic_ns()}")
    _notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def _note(what: str) -> None:
    os.write(_notes, f"{what} {current_job().jid} {time.monotonic_ns()}\n".encode())


def _soon(_count: int, _error: BaseException, _payload: dict[str, object]) -> float:
    return 0.1


@default.job(name="work")
def work(milliseconds: int) -> None:
    """Succeeds."""
    _note("b")
    time.sleep(milliseconds / 1000)
    _note("e")


@default.job(name="rests")
async def rests(milliseconds: int) -> None:
    """The same on the event loop."""
    _note("b")
    await asyncio.sleep(milliseconds / 1000)
    _note("e")


@default.job(name="flaky", retry_in=_soon)
def flaky(milliseconds: int) -> None:
    """Fails once, then succeeds."""
    _note("b")
    time.sleep(milliseconds / 1000)
    if current_job().attempt == 1:
        _note("f")
        raise RuntimeError("this attempt was to fail")
    _note("e")


@default.job(name="sleepy")
def sleepy(milliseconds: int) -> None:
    """Puts itself off once."""
    _note("b")
    time.sleep(milliseconds / 1000)
    if not current_job().payload.get("jobd", {}).get("snoozes"):
        _note("f")
        raise Snooze(0.2)
    _note("e")


@default.job(name="doomed", retry=0)
def doomed(milliseconds: int) -> None:
    """Ends in the dead set."""
    _note("b")
    time.sleep(milliseconds / 1000)
    _note("f")
    raise RuntimeError("this job was to die")
