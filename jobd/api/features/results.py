"""Results of jobs that keep them, for tools; applications use :class:`jobd.Result`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from jobd.api.inflight import InFlightSet
from jobd.api.session import Session
from jobd.features.results.record import ResultInfo, info_of
from jobd.wire import results


@dataclass(frozen=True, slots=True)
class JobResult:
    """What is known of a job that keeps its result.

    Attributes:
        value: what its function has returned; None before its end, and if that could not be kept.
    """

    jid: str
    info: ResultInfo
    value: object


def result(session: Session, jid: str) -> JobResult:
    """The result of a job.

    Raises:
        KeyError: nothing is kept for this id.
        UnavailableError: the server does not answer.
    """
    fields = cast("dict[bytes, bytes]", session.redis.hgetall(session.keys.result(jid)))
    if not fields:
        raise KeyError(jid)
    state = fields.get(b"state", b"").decode(errors="replace")
    if state == "queued" and InFlightSet(session).find_job(jid) is not None:
        state = "running"
    return JobResult(jid, info_of(state, fields), results.read(fields.get(b"detail", b"{}")).value)
