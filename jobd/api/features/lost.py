"""Jobs that are nowhere although a batch or a workflow waits for them: a person has deleted them
by hand in Redis, or a program that knows neither has run them. And jobs that such a program has put
into the dead set: they have failed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from jobd.api.features.batch_parts import inside
from jobd.api.features.remaining import RemainingJobs
from jobd.api.reading import answers, batches
from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.store import scripts
from jobd.store.protocol import Argument
from jobd.wire.batches import PENDING, STATES, UNCONFIRMED, states_of

MEMBERS_AT_ONCE = 5_000
"""Members in one script, which counts all of their batch again."""

DEAD = "dead"
"""The place of jobs that have failed."""

_STEPS_AT_ONCE = 1_000
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
    """Jobs of one batch or workflow.

    Attributes:
        moves: how often its jobs had been moved before they were looked for.
        numbers: of its members or steps.
    """

    moves: str
    numbers: set[int]


class LostJobs(ABC):
    """The search for those of batches, or of workflows."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._dead = dict[bytes, None]()

    @abstractmethod
    def expected(self, ref: str) -> Lost:
        """Those of one batch or workflow that must be somewhere."""

    @abstractmethod
    def give_up(self, ref: str, lost: Lost) -> int:
        """Let nothing wait for these any more, unless a job of it has been moved since they were
        looked for; returns how many they were then, else a number below one."""

    def missing(self, refs: Sequence[str], delivered: Iterable[bytes] = ()) -> dict[str, Lost]:
        """Those that are nowhere, by one search through all jobs; one that moves meanwhile may be
        among them.

        Args:
            delivered: jobs that workers have and that are in no other place.
        """
        found = {ref: lost for ref in refs if (lost := self.expected(ref)).numbers}
        if not found:
            return {}

        def is_of(job: JobRecord) -> bool:
            place = self._place(job)
            return place is not None and place[0] in found

        search = RemainingJobs(self._session, self._mark(list(found)), is_of)
        while not search.done:
            for each in search.next():
                if self._take_out(found, each.job) and each.place == DEAD:
                    self._dead[each.job.value] = None
        for raw in delivered:
            self._take_out(found, JobRecord(raw, None, self._session))
        left = {ref: self._still(ref, lost) for ref, lost in found.items() if lost.numbers}
        return {ref: lost for ref, lost in left.items() if lost.numbers}

    @property
    def dead(self) -> int:
        """How many searches have found in the dead set that have not ended."""
        return len(self._dead)

    def end_dead(self) -> int:
        """End those that a search has found in the dead set, and that are still there; how many."""
        dead, self._dead = self._dead, {}
        keys, count = self._session.keys, 0
        for part in batches(dead, len):
            count += scripts.END_DEAD(self._session.redis, [keys.queues, keys.dead], part)
        return count

    def _take_out(self, found: dict[str, Lost], job: JobRecord) -> bool:
        """Note that it is somewhere; whether it was looked for."""
        place = self._place(job)
        if place is None or place[0] not in found or place[1] not in found[place[0]].numbers:
            return False
        found[place[0]].numbers.remove(place[1])
        return True

    def _still(self, ref: str, lost: Lost) -> Lost:
        """Those of the *lost* ones that have not ended during the search."""
        return lost._replace(numbers=lost.numbers & self.expected(ref).numbers)

    @abstractmethod
    def _mark(self, refs: list[str]) -> str:
        """Plain text in the payload of each."""

    @abstractmethod
    def _place(self, job: JobRecord) -> tuple[str, int] | None:
        """What a job belongs to, and its number there."""


class LostMembers(LostJobs):
    """Members of batches."""

    def expected(self, ref: str) -> Lost:
        keys = self._session.keys
        with self._session.redis.pipeline(transaction=False) as pipe:
            pipe.hget(keys.batch(ref), "moves")
            pipe.get(keys.batch_members(ref))
            moves, members = answers(pipe)
        states = enumerate(states_of(members or b""))
        return Lost(_text(moves), {number for number, (state, _) in states if state == PENDING})

    def give_up(self, ref: str, lost: Lost) -> int:
        """They become unconfirmed, some thousand at once; and all of the batch is counted again."""
        keys = self._session.keys
        words: list[Argument] = [ref, lost.moves]
        for number in sorted(lost.numbers)[:MEMBERS_AT_ONCE]:
            words += (number, STATES[UNCONFIRMED])
        names = [keys.queues, keys.batch(ref), keys.batch_members(ref)]
        return int(scripts.MEND_BATCH(self._session.redis, names, words))

    def _still(self, ref: str, lost: Lost) -> Lost:
        still = super()._still(ref, lost)
        if still.numbers:  # a batch inside it is a member, too
            for step in inside(self._session, {ref}):
                still.numbers.difference_update(number for _, number in step)
        return still

    def _mark(self, refs: list[str]) -> str:
        return refs[0] if len(refs) == 1 else "batch"

    def _place(self, job: JobRecord) -> tuple[str, int] | None:
        return job.attachments.batch


class LostSteps(LostJobs):
    """Steps of workflows."""

    def expected(self, ref: str) -> Lost:
        keys = self._session.keys
        with self._session.redis.pipeline(transaction=False) as pipe:
            pipe.hget(keys.workflow(ref), "moves")
            pipe.get(keys.workflow_steps(ref))
            moves, letters = answers(pipe)
        return Lost(_text(moves), {n for n, letter in enumerate(letters or b"") if letter in b"pP"})

    def give_up(self, ref: str, lost: Lost) -> int:
        """They have failed, and what follows is what their policies say."""
        failed, numbers = 0, sorted(lost.numbers)
        for first in range(0, len(numbers), _STEPS_AT_ONCE):
            part = numbers[first : first + _STEPS_AT_ONCE]
            words: list[Argument] = [ref, lost.moves, _FAILURE, *part]
            queues = [self._session.keys.queues]
            failed += max(0, int(scripts.LOSE_STEPS(self._session.redis, queues, words)))
        return failed

    def _mark(self, _refs: list[str]) -> str:
        return "node"

    def _place(self, job: JobRecord) -> tuple[str, int] | None:
        node = job.attachments.node
        return None if node is None else (node.workflow, node.number)


def _text(moves: bytes | None) -> str:
    return (moves or b"0").decode(errors="replace")
