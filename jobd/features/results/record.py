"""The record of a result in Redis, as ``lua/attachments.lua`` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from jobd.errors import (
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
    JobNotFoundError,
    ResultNotKeptError,
)
from jobd.wire import results

State = Literal[
    "queued", "scheduled", "running", "retrying", "done", "failed", "expired", "cancelled"
]
ENDED = frozenset({"done", "failed", "expired", "cancelled"})
GONE = "gone"
"""Instead of the state of a job whose record has been deleted while it was waited for."""


@dataclass(frozen=True, slots=True)
class ResultInfo:
    """What is known of a job that keeps its result.

    Attributes:
        state: where it is, or how it has ended.
        created_at, enqueued_at, ended_at: seconds since 1970; None before, or where unknown.
        error: class and message of the exception that ended it, or why its result was not kept.
    """

    state: State
    created_at: float | None = None
    enqueued_at: float | None = None
    ended_at: float | None = None
    error: str | None = None


def ended(state: str) -> bool:
    """Whether a job in this state has ended.

    >>> ended("done"), ended("retrying")
    (True, False)
    """
    return state in ENDED


def value_of(jid: str, state: str, detail: bytes) -> object:
    """The value of a job that has ended, or the error that says why it has none.

    Raises:
        ResultError: one of its subclasses.
    """
    read = results.read(detail)
    if state == "done":
        if read.lost is not None:
            raise ResultNotKeptError(f"job {jid} is done, but its result was not kept: {read.lost}")
        return read.value
    if state == "failed":
        raise JobFailedError(jid, read.error_class or "", read.message or "", read.traceback or "")
    if state == "expired":
        raise JobExpiredError(f"job {jid} was not started in time")
    if state == GONE:
        raise not_found(jid)
    raise JobCancelledError(f"job {jid} was cancelled or deleted")


def not_found(jid: str) -> JobNotFoundError:
    return JobNotFoundError(
        f"no result is kept for job {jid}: there is no such job, it was pushed without "
        "keep_result=..., or it ended longer ago than that"
    )


def info_of(state: str, fields: Mapping[bytes, bytes]) -> ResultInfo:
    """What the *fields* of a record say of a job in *state*."""
    read = results.read(fields.get(b"detail", b"{}"))
    failed = None if read.error_class is None else f"{read.error_class}: {read.message}"
    return ResultInfo(
        cast(State, state),
        _time(fields.get(b"created_at")),
        _time(fields.get(b"enqueued_at")),
        _time(fields.get(b"at")),
        read.lost or failed,
    )


def _time(raw: bytes | None) -> float | None:
    try:
        return None if raw is None else float(raw)
    except ValueError:
        return None
