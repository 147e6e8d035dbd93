"""Acting on jobs of a queue, each by its bytes.

In a list only the ends are within reach, and workers take jobs meanwhile: a job is looked for where
it was read. Those that are not there are searched for together, once, in bounded steps, so that
neither a long queue nor jobs that have gone keep the server busy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter

from jobd.api.reading import STEP_BYTES, batches
from jobd.api.session import Change, Session
from jobd.store import scripts

FARTHER = 10_000
"""Places that a job may be farther from the tail than where it was read: that is, the jobs that
have been put in front of it meanwhile, given back or restored. Workers only bring it nearer."""

Job = tuple[int | None, bytes]
"""Jobs of its queue that were to run before it when it was read, None if it was not; its bytes."""

Placed = list[tuple[int, bytes]]
"""Jobs whose places are known."""

Call = Callable[[Placed], Iterable[int]]
"""Calls a script that answers as ``unqueue.lua``, for jobs by their places and bytes."""


def delete_queued(session: Session, action: Change, queue: str, jobs: Sequence[Job]) -> int:
    """Delete jobs from a queue; returns how many were still there."""
    keys = [session.keys.queue(queue)]
    return act_on_queued(
        session,
        queue,
        jobs,
        lambda part: action.call_undoable(
            scripts.UNQUEUE, keys, [mark(action), *(word for job in part for word in job)]
        ),
    )


def act_on_queued(session: Session, queue: str, jobs: Sequence[Job], call: Call) -> int:
    """Call a script for jobs of a queue, wherever they are; returns how many it has changed."""
    missing = [job for job in jobs if job[0] is None]
    total = _act([(place, raw) for place, raw in jobs if place is not None], call, missing)
    for batch in batches(missing, _weight):
        for found in located(session, queue, batch):
            total += _act(found, call, [])
    return total


def located(session: Session, queue: str, jobs: Sequence[Job]) -> Iterator[Placed]:
    """Search for jobs, a step at a time: those that a step has found, with their places."""
    key, left = session.keys.queue(queue), [(len(raw), _digest(raw), raw) for _, raw in jobs]
    known = [place for place, _ in jobs if place is not None]
    before = max(known, default=0) + FARTHER if len(known) == len(jobs) else -1
    while left and before:
        words = [word for size, digest, _ in left for word in (size, digest)]
        before, *found = scripts.LOCATE(session.redis, [key], [before, STEP_BYTES, *words])
        places = dict(zip(found[::2], found[1::2], strict=True))
        if places:
            yield [(place, left[position - 1][2]) for position, place in places.items()]
        left = [one for position, one in enumerate(left, 1) if position not in places]


def mark(action: Change) -> bytes:
    """A text that is in no queue: no payload begins with a byte that no text has."""
    return b"\xff" + action.ref.encode()


def _act(jobs: Placed, call: Call, missing: list[Job]) -> int:
    """Call the script for jobs where they were read; those that are not there are *missing*."""
    total = 0
    for batch in batches(sorted(jobs, key=itemgetter(0)), _weight):
        left = batch
        while left:
            # Those before them that have been removed have brought them nearer.
            changed, handled, *gone = call([(place - total, raw) for place, raw in left])
            total += changed
            missing += [left[position - 1] for position in gone]
            left = left[handled:]
    return total


def _weight(job: Job) -> int:
    return len(job[1])


def _digest(raw: bytes) -> str:
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()
