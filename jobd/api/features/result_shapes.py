"""What ``/api/v1`` returns of the results of jobs; as in :mod:`jobd.api.shapes`."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from jobd.api.features.results import JobResult
from jobd.api.shapes import encodable, finite
from jobd.features.results.record import State


class Result(Struct, frozen=True):
    """What became of a job that keeps its result: ``state`` is where it is, or how it has ended."""

    jid: str
    state: State
    created_at: float | None
    enqueued_at: float | None
    ended_at: float | None
    error: str | None
    value: Any

    @classmethod
    def of(cls, found: JobResult) -> Result:
        info = found.info
        return cls(
            found.jid,
            info.state,
            finite(info.created_at),
            finite(info.enqueued_at),
            finite(info.ended_at),
            info.error,
            encodable(found.value),
        )
