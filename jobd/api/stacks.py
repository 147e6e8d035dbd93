"""What the threads of a worker are doing, as it has told when somebody asked.

A worker of jobd that is asked through Redis (:meth:`~jobd.api.Process.dump_threads`) writes its
stacks to its log, and to Redis for some minutes. A Sidekiq writes them to its log only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobd.api.reading import MOST_HELD, batches, hashes, number, text
from jobd.api.session import Session


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
    """The stacks by identity, of those who have told them lately, about 64 MB of them; each has up
    to half a million characters. A script for each megabyte."""
    found: dict[str, Stacks] = {}
    room = MOST_HELD
    told = hashes(session.redis, [session.keys.stacks(identity) for identity in identities])
    for identity, fields in zip(identities, told, strict=True):
        if b"text" in fields:
            found[identity] = Stacks(number(fields.get(b"at")), text(fields[b"text"]))
            room -= len(fields[b"text"])
        if room <= 0:
            break
    return found


def forget_stacks(session: Session, identities: Sequence[str]) -> None:
    """Forget what they have told, so that what is there next is the answer to a new question."""
    for batch in batches(identities):
        with session.redis.pipeline(transaction=False) as pipe:
            for identity in batch:
                pipe.unlink(session.keys.stacks(identity))
            pipe.execute()
