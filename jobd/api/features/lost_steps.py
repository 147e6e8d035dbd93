"""Steps of workflows whose jobs are nowhere: a person has deleted them by hand in Redis, or a
program that knows no workflows has run them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import msgspec

from jobd.api.features.remaining import RemainingJobs
from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.store import scripts
from jobd.store.protocol import Argument

_AT_ONCE = 1_000
"""Steps in one script."""

_FAILURE = msgspec.json.encode(
    {
        "state": "failed",
        "class": "JobLost",
        "message": "its job was found nowhere: somebody has deleted it in Redis, or a program that "
        "knows no workflows has run it",
    }
)


class Lost(NamedTuple):
    """Steps of one workflow that a search has missed.

    Attributes:
        moves: how often jobs of it had been moved before.
    """

    moves: str
    numbers: set[int]


def missing(session: Session, refs: Collection[str], delivered: Iterable[bytes]) -> dict[str, Lost]:
    """The pushed steps of these workflows whose jobs are nowhere, by one search through all jobs.

    Args:
        delivered: jobs that workers have and that are in no other place.
    """
    found = {ref: lost for ref in refs if (lost := _pushed(session, ref)).numbers}
    if not found:
        return {}
    search = RemainingJobs(session, "node", lambda job: _workflow_of(job) in found)
    while not search.done:
        for each in search.next():
            _take_out(found, each.job)
    for raw in delivered:
        _take_out(found, JobRecord(raw, None, session))
    return {ref: lost for ref, lost in found.items() if lost.numbers}


def fail(session: Session, ref: str, lost: Lost) -> int:
    """Fail steps as their policies say, unless a job of the workflow has been moved since they were
    missed; returns how many."""
    failed = 0
    numbers = sorted(lost.numbers)
    for first in range(0, len(numbers), _AT_ONCE):
        words: list[Argument] = [ref, lost.moves, _FAILURE, *numbers[first : first + _AT_ONCE]]
        failed += max(0, int(scripts.LOSE_STEPS(session.redis, [session.keys.queues], words)))
    return failed


def _pushed(session: Session, ref: str) -> Lost:
    """All that are pushed."""
    keys = session.keys
    with session.redis.pipeline(transaction=False) as pipe:
        pipe.hget(keys.workflow(ref), "moves")
        pipe.get(keys.workflow_steps(ref))
        answer: list[Any] = pipe.execute()
    moves, letters = answer
    numbers = {n for n, letter in enumerate((letters or b"").decode("latin-1")) if letter in "pP"}
    return Lost((moves or b"0").decode(errors="replace"), numbers)


def _workflow_of(job: JobRecord) -> str | None:
    node = job.attachments.node
    return None if node is None else node.workflow


def _take_out(found: dict[str, Lost], job: JobRecord) -> None:
    node = job.attachments.node
    if node is not None and node.workflow in found:
        found[node.workflow].numbers.discard(node.number)
