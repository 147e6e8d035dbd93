"""What the threads of a worker are doing, as it has told when somebody asked.

A worker of jobd that is asked through Redis (:meth:`~jobd.api.Process.dump_threads`) writes its
stacks to its log, and to Redis for some minutes. A Sidekiq writes them to its log only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobd.api.reading import answers, batches, number, text
from jobd.api.session import Session

_BATCH = 20
"""Processes whose stacks are read in one round trip; each has up to half a million characters."""


@dataclass(frozen=True, slots=True)
class Stacks:
    """The stacks of one process.

    Attributes:
        at: when they were taken, seconds since 1970, by the clock of its host.
        text: for people; a line about the process, then each thread, innermost call last.
    """

    at: float
    text: str


def read_stacks(session: Session, identities: Sequence[str]) -> dict[str, Stacks]:
    """The stacks by identity, of those who have told them lately; a round trip for each 20."""
    found: dict[str, Stacks] = {}
    for batch in batches(identities, size=_BATCH):
        with session.redis.pipeline(transaction=False) as pipe:
            for identity in batch:
                pipe.hmget(session.keys.stacks(identity), ["at", "text"])
            told = answers(pipe)
        for identity, fields in zip(batch, told, strict=True):
            if fields is not None and fields[1] is not None:
                found[identity] = Stacks(number(fields[0]), text(fields[1]))
    return found


def forget_stacks(session: Session, identities: Sequence[str]) -> None:
    """Forget what they have told, so that what is there next is the answer to a new question."""
    for batch in batches(identities):
        with session.redis.pipeline(transaction=False) as pipe:
            for identity in batch:
                pipe.unlink(session.keys.stacks(identity))
            pipe.execute()
