"""The application that the daemons of a chaos run load: jobs that note their executions.

A note is one ``write`` to a file opened for appending, so that it is whole and in the kernel's
hands before the job goes on; no kill of the process can take it back.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from jobd import DISCARD, current_job, job, on

_notes = -1


@on("startup")
def _open_journal() -> None:
    global _notes
    name = f"{os.getpid()}.{time.monotonic_ns()}"
    path = Path(os.environ["CHAOS_JOURNAL"], name)
    _notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def _note(what: str) -> None:
    os.write(_notes, f"{what} {current_job().jid} {time.monotonic_ns()}\n".encode())


def _soon(_count: int, _error: BaseException, _payload: dict[str, Any]) -> float:
    return 0.1


def _never(_count: int, _error: BaseException, _payload: dict[str, Any]) -> Any:
    return DISCARD


@job(name="work")
def work(milliseconds: int) -> None:
    _note("b")
    time.sleep(milliseconds / 1000)
    _note("e")


@job(name="flaky", retry_in=_soon)
def flaky(milliseconds: int, failures: int) -> None:
    """Fails so many times, then succeeds."""
    _note("b")
    time.sleep(milliseconds / 1000)
    if current_job().attempt <= failures:
        _note("f")
        raise RuntimeError("this attempt was to fail")
    _note("e")


@job(name="doomed", retry=0)
def doomed(milliseconds: int) -> None:
    """Ends in the dead set."""
    _note("b")
    time.sleep(milliseconds / 1000)
    _note("f")
    raise RuntimeError("this job was to die")


@job(name="unwanted", retry_in=_never)
def unwanted(milliseconds: int) -> None:
    """Fails, and is kept nowhere."""
    _note("b")
    time.sleep(milliseconds / 1000)
    _note("f")
    raise RuntimeError("this job was to be discarded")
