"""Pushes that were not let in, because a unique job like them is there already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from jobd.errors import DuplicateJobError
from jobd.wire.attachments import AttachedPush

if TYPE_CHECKING:
    from jobd.store.conflict import Conflict

_TEXT = "the push of job %s was refused (%s): job %s has held its lock for %.1f s"


def told(
    jobs: Sequence[AttachedPush],
    conflicts: Sequence[Conflict | None],
    refused: list[str] | None = None,
) -> list[str | None]:
    """What the pushes of *jobs* return.

    Args:
        conflicts: for each, the job that has kept it out.
        refused: takes the ids of the jobs that hold the locks, where that is an error.

    Raises:
        DuplicateJobError: it is an error, and *refused* is None.
    """
    jids: list[str | None] = []
    held = [] if refused is None else refused
    for job, conflict in zip(jobs, conflicts, strict=True):
        if conflict is None:
            jids.append(job.jid)
            continue
        how = job.pushed.on_conflict
        _log(job, conflict, "info")
        jids.append(conflict.holder if how == "holder" else None)
        if how == "raise":
            held.append(conflict.holder)
    if held and refused is None:
        raise DuplicateJobError(held, jids)
    return jids


def told_later(jobs: Sequence[AttachedPush], conflicts: Sequence[Conflict | None]) -> None:
    """Log which of *jobs* were not let in: those who pushed them have long been told an id."""
    for job, conflict in zip(jobs, conflicts, strict=True):
        if conflict is not None:
            _log(job, conflict, "warning" if job.pushed.on_conflict == "raise" else "info")


def _log(job: AttachedPush, conflict: Conflict, level: Literal["info", "warning"]) -> None:
    import logging  # most programs that push have no refusals

    log = getattr(logging.getLogger("jobd.client"), level)
    log(_TEXT, job.jid, job.pushed.on_conflict, conflict.holder, conflict.age)
