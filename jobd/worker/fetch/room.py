"""The room for jobs: threads for one kind, places on the event loop for async jobs.

What kind the next job of a queue is shows only when it is claimed. So a queue is expected to go on
with the kind that came last, and is claimed from while there is room for that kind. Jobs for which
there turns out to be no room are returned to the head of their queue. Such a queue is left alone
until there is room for its head, so that nothing is claimed and returned in a loop; other workers
may take it, and the other queues go on.

If the room for the expected kind is used up while there is room for the other one, the head of the
queue is looked at without claiming it. It is looked at again after :data:`LOOK_AGAIN` seconds:
other workers may have taken it by then.

Used by the fetcher thread only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Set
from typing import NamedTuple

from jobd.errors import PayloadError
from jobd.store.inflight import Claimed
from jobd.wire import payload
from jobd.worker.fetch.ledger import Ledger
from jobd.worker.fetch.prefetch import Ahead
from jobd.worker.fetch.stale import Place, Stale

LOOK_AGAIN = 1.0
"""Seconds after which the head of a queue that has no room is looked at again."""


LARGE = 1024
"""Bytes of a payload above which it is worth finding its class without parsing the rest."""


class Side:
    """The room for jobs of one kind.

    Args:
        place: where they run.
        unfinished: how many jobs run or wait there.
        add: enters one in the ledger.
    """

    def __init__(
        self, place: Place, unfinished: Callable[[], int], add: Callable[[Claimed], None]
    ) -> None:
        self.place = place
        self.add = add
        self.stale = Stale(place)
        self.ahead = Ahead(place.size)
        self._unfinished = unfinished

    @property
    def free(self) -> int:
        """How many jobs could start now; negative if jobs have been prefetched."""
        return self.place.size - self._unfinished()

    @property
    def wanted(self) -> int:
        """How many jobs to claim: those that could start soon, too."""
        return self.free + self.ahead.jobs


class Division(NamedTuple):
    """The queues, by the kind of room that there is for their next jobs.

    Attributes:
        threads, loop: names of queues to claim from.
        unsure: those whose head has to be looked at.
        shut: the others, whose next jobs have no room.
    """

    threads: tuple[str, ...]
    loop: tuple[str, ...]
    unsure: tuple[str, ...]
    shut: frozenset[str]


class Room:
    """The room of one worker.

    Args:
        names: the queues.
        threads, loop: the places for jobs.
        on_loop: returns the names of the jobs that run on the event loop.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        ledger: Ledger,
        threads: Place,
        loop: Place,
        on_loop: Callable[[], Set[str]],
    ) -> None:
        self.names = names
        self._on_loop = on_loop
        self._all = Division(names, (), (), frozenset())
        self._none = Division((), (), (), frozenset(names))
        # Without jobs on the loop all that is in the ledger is for threads.
        self.threads = Side(threads, lambda: ledger.in_threads, ledger.add)
        self.loop = Side(loop, lambda: ledger.on_loop, ledger.add_on_loop)
        self.sides = (self.threads, self.loop)
        self._expected: dict[str, Side] = {}
        # The kind of the head, where it is known; queues that were seen empty.
        self._heads: dict[str, Side] = {}
        self._empty: set[str] = set()
        self._seen_at = 0.0
        self._divisions: dict[tuple[bool, bool], Division] = {}

    @property
    def mixed(self) -> bool:
        """Whether there are jobs for the event loop at all."""
        return bool(self._on_loop())

    @property
    def waiting(self) -> bool:
        """Whether claimed jobs wait for their start."""
        return self.threads.place.waiting or self.loop.place.waiting

    def to_claim(self) -> Division:
        """From which queues to claim, for jobs that could start now or soon."""
        return self._divided(self.threads.wanted > 0, self.loop.wanted > 0)

    def to_wait(self) -> Division:
        """Which queues to wait on, for jobs that could start now."""
        return self._divided(self.threads.free > 0, self.loop.free > 0)

    def _divided(self, threads: bool, loop: bool) -> Division:
        if not self.mixed:
            return self._all if threads else self._none
        found = self._divisions.get((threads, loop))
        if found is None:
            found = self._divisions[threads, loop] = self._divide(threads, loop)
        return found

    def _divide(self, threads: bool, loop: bool) -> Division:
        has_room = {self.threads: threads, self.loop: loop}
        taken: dict[Side, list[str]] = {self.threads: [], self.loop: []}
        unsure, shut = [], []
        for name in self.names:
            head = self._heads.get(name)
            side = head or self._expected.get(name, self.threads)
            if has_room[side]:
                taken[side].append(name)
            elif head is not None or not (threads or loop):
                shut.append(name)
            else:
                unsure.append(name)
        return Division(
            tuple(taken[self.threads]), tuple(taken[self.loop]), tuple(unsure), frozenset(shut)
        )

    # -- the heads of queues -------------------------------------------------------------------

    def to_look_at(self) -> list[str]:
        """The queues whose head decides whether anything can be claimed from them."""
        return [name for name in self.to_claim().unsure if name not in self._empty]

    def seen(self, queue: str, raw: bytes | None) -> bool:
        """Note the head of *queue*, None if it is empty; returns whether there may be room for
        it."""
        if raw is None:
            self._empty.add(queue)
            return False
        self._note_head(queue, self._side_of(_parsed(raw)))
        return queue not in self.to_claim().shut

    def _note_head(self, queue: str, side: Side) -> None:
        if not self._heads:
            self._seen_at = time.monotonic()
        self._heads[queue] = side
        self._divisions.clear()

    def doubt(self) -> None:
        """Queues that were empty may have jobs now."""
        self._empty.clear()

    def forget_heads(self) -> float:
        """Forget the heads of queues that were seen too long ago; returns the seconds until that
        is due, and 0 if it has been done."""
        if not self._heads:
            return math.inf
        left = self._seen_at + LOOK_AGAIN - time.monotonic()
        if left > 0:
            return left
        self._heads.clear()
        self._divisions.clear()
        return 0.0

    # -- new jobs ------------------------------------------------------------------------------

    def distribute(self, jobs: list[Claimed], queue: str, *, now: bool) -> list[Claimed]:
        """Hand over those of *jobs*, new ones of *queue*, for which there is room; returns the
        others, which have been entered in the ledger, too.

        Args:
            now: only to places that are free; otherwise jobs may wait for one.
        """
        names = self._on_loop()
        if not names:
            refused = jobs if now and self.threads.free < len(jobs) else []
            for job in jobs:
                self.threads.add(job)
            self._give(self.threads, [] if refused else jobs)
            return refused
        left = [side.free if now else side.wanted for side in self.sides]
        portions: tuple[list[Claimed], list[Claimed]] = ([], [])
        refused = []
        at = 0
        for job in jobs:
            at = job.work is not None and job.work.class_ in names
            self.sides[at].add(job)
            if left[at] > 0:
                left[at] -= 1
                portions[at].append(job)
            else:
                refused.append(job)
        for side, portion in zip(self.sides, portions, strict=True):
            self._give(side, portion)
        self._expect(queue, self.sides[at])
        if refused:
            self._note_head(queue, self._side_of(refused[0].work))
        return refused

    @staticmethod
    def _give(side: Side, jobs: list[Claimed]) -> None:
        if jobs:
            side.place.give(jobs)
            side.stale.dispatched(jobs[-1].sequence)

    def _expect(self, queue: str, side: Side) -> None:
        self._empty.discard(queue)
        known = self._heads.pop(queue, None) is not None
        if known or self._expected.get(queue) is not side:
            self._expected[queue] = side
            self._divisions.clear()

    def _side_of(self, work: payload.Work | None) -> Side:
        return self.sides[work is not None and work.class_ in self._on_loop()]

    def claimed(self, first: int, queue: str, payloads: list[bytes]) -> list[Claimed]:
        """New jobs, numbered from *first*; with what they say, if their kind matters. Then it is
        parsed once, here instead of where the job runs."""
        names = self._on_loop()
        if not names:
            return [Claimed(sequence, queue, raw) for sequence, raw in enumerate(payloads, first)]
        return [
            Claimed(sequence, queue, raw, _read(raw, names))
            for sequence, raw in enumerate(payloads, first)
        ]

    def take_back(self) -> list[Claimed]:
        """Remove and return the jobs that have not started."""
        return [job for side in self.sides for job in side.place.take_back()]

    def overdue(self) -> list[Claimed]:
        """The same, of those kinds of which one has waited too long."""
        return [
            job for side in self.sides if side.stale.overdue() for job in side.place.take_back()
        ]

    def keep_waiting(self, jobs: Collection[Claimed]) -> None:
        """Put back *jobs* that :meth:`take_back` has returned."""
        for job in jobs:
            self._side_of(job.work).place.give([job])


def _read(raw: bytes, on_loop: Set[str]) -> payload.Work | None:
    """What *raw* says; None if it is large and certainly for a thread, which parses it then: the
    large ones of a claim, parsed at once, would push each other out of the processor's cache."""
    if len(raw) > LARGE:
        class_ = payload.class_beside(raw, LARGE)
        if class_ is not None and class_ not in on_loop:
            return None
    return _parsed(raw)


def _parsed(raw: bytes) -> payload.Work | None:
    try:
        return payload.parse(raw)
    except PayloadError:
        return None  # a thread looks again, and ends it
