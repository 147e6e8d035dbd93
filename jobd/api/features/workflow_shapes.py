"""What ``/api/v1`` and ``jobctl --json`` return of workflows; as in :mod:`jobd.api.shapes`."""

from __future__ import annotations

from msgspec import Struct

from jobd.features.workflows.record import StepInfo, Summary


class WorkflowStep(Struct, kw_only=True, frozen=True):
    """A step; ``job`` is empty for one that only waits for those before it."""

    number: int
    name: str
    job: str
    jid: str
    after: list[int]
    state: str
    on_failure: str
    role: str
    error: str

    @classmethod
    def of(cls, one: StepInfo) -> WorkflowStep:
        return cls(
            number=one.number,
            name=one.name,
            job=one.job,
            jid=one.jid,
            after=list(one.after),
            state=one.state,
            on_failure=one.on_failure,
            role=one.role,
            error=one.error,
        )


class WorkflowSummary(Struct, kw_only=True, frozen=True):
    """A workflow; ``passed`` are steps that have failed and let it go on."""

    id: str
    name: str
    state: str
    size: int
    done: int
    failed: int
    passed: int
    live: int
    created_at: float
    ended_at: float | None
    cancelled: str

    @classmethod
    def of(cls, one: Summary) -> WorkflowSummary:
        return cls(
            id=one.id,
            name=one.name,
            state=one.state,
            size=one.size,
            done=one.done,
            failed=one.failed,
            passed=one.passed,
            live=one.live,
            created_at=one.created_at,
            ended_at=one.ended_at,
            cancelled=one.cancelled,
        )
