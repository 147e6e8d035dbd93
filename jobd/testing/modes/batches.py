"""Batches in a test mode: which callbacks are due, by the rules of ``store/lua/batches.lua``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jobd.jobs.inline import Application
from jobd.testing.modes.pushed import PushedJob
from jobd.wire.batches import EVENTS, Event, Portion
from jobd.wire.transitions import with_enqueued

Place = tuple[str, str]
"""Which Redis: URL and prefix."""

MemberState = Literal["pending", "done", "dead", "expired", "cancelled"]

_DROPPED: tuple[MemberState, ...] = ("expired", "cancelled")


@dataclass(slots=True)
class Gathering:
    """A batch.

    Attributes:
        app: has the code of its callbacks, if anything here has.
        place: where they are pushed.
        fields: what its producer says of it.
        outer: the batch around it, and its number there.
        callbacks: by ``event:number``, those that have not been pushed.
        blocks: those that are open, by id, each with the jobs that it has pushed.
        members: the state of each, by number.
        counts: how many members are in each state.
        failed: numbers of the members that have failed.
        fresh: how many are pending and have not failed.
        died: whether a member has ever been dead.
        times: when something has happened, by the name in the record.
        next: the first number that has not been given to a block.
    """

    app: Application
    place: Place
    fields: dict[str, str]
    outer: tuple[Gathering, int] | None
    times: dict[str, float]
    callbacks: dict[str, bytes] = field(default_factory=dict)
    blocks: dict[str, list[PushedJob]] = field(default_factory=dict)
    members: dict[int, MemberState] = field(default_factory=dict)
    counts: Counter[MemberState] = field(default_factory=Counter)
    failed: set[int] = field(default_factory=set)
    fresh: int = 0
    died: bool = False
    next: int = 0

    def refuses(self, portion: Portion) -> str:
        """Why nothing can be added, as :class:`jobd.store.batches.Added` says it; "" if it can."""
        if "success_at" in self.times:
            return "finished"
        return "closed" if portion.how == "go on" and portion.block not in self.blocks else ""

    def join(self, number: int) -> None:
        """A job becomes a member, which waits."""
        if number not in self.members:
            self.members[number] = "pending"
            self.counts["pending"] += 1
            self.fresh += 1

    def change(self, number: int, state: MemberState | None, *, failed: bool = False) -> None:
        """A member is in another state, or in the same one, which is None; and may have failed."""
        was = self.members.get(number)
        if was is None:
            return
        self.fresh -= was == "pending" and number not in self.failed
        self.members[number] = state or was
        self.counts[was] -= 1
        self.counts[state or was] += 1
        if failed:
            self.failed.add(number)
        self.fresh += self.members[number] == "pending" and number not in self.failed

    @property
    def bad(self) -> int:
        """How many members keep it from success for good."""
        dropped = sum(self.counts[state] for state in _DROPPED) if "strict" in self.fields else 0
        return self.counts["dead"] + dropped

    def settle(self, now: float) -> list[PushedJob]:
        """Note what has happened; returns the callbacks that are pushed now."""
        self.died = self.died or self.bad > 0
        pending, is_open = self.counts["pending"], bool(self.blocks)
        happens: dict[Event, bool] = {
            "success": not pending and not self.bad,
            "complete": not self.fresh,
            "death": self.died,
        }
        for event in EVENTS:
            if happens[event] and not is_open:
                self.times.setdefault(f"{event}_at", now)
        if pending or is_open:
            self.times.pop("ended_at", None)
        else:
            self.times.setdefault("ended_at", now)
        due = [raw for event in EVENTS if f"{event}_at" in self.times for raw in self._taken(event)]
        return [PushedJob.of(with_enqueued(raw, now)[1], None, self.app, self.place) for raw in due]

    def _taken(self, event: Event) -> list[bytes]:
        """The callbacks of an event that have not been pushed."""
        names = [name for name in self.callbacks if name.startswith(f"{event}:")]
        return [self.callbacks.pop(name) for name in names]

    def tell_outer(self) -> None:
        """Let the batch around it know its state."""
        if self.outer is None:
            return
        outer, number = self.outer
        if "success_at" in self.times:
            outer.change(number, "done")
        elif not self.blocks and self.bad:
            outer.change(number, "dead", failed=True)
        else:
            outer.change(number, "pending", failed=not self.blocks and not self.fresh)

    def record(self) -> Mapping[bytes, bytes]:
        """What a Redis would say of it; see :func:`jobd.features.batches.record.status_of`."""
        texts = dict(self.fields)
        texts.update((name, repr(at)) for name, at in self.times.items())
        texts.update((state, str(count)) for state, count in self.counts.items())
        sizes = {"total": self.members, "failed": self.failed, "open": self.blocks}
        texts.update((name, str(len(one))) for name, one in sizes.items())
        return {name.encode(): text.encode() for name, text in texts.items()}


class Batches:
    """All batches of a mode."""

    def __init__(self) -> None:
        self._known: dict[tuple[Place, str], Gathering] = {}

    def get(self, place: Place, bid: str) -> Gathering | None:
        return self._known.get((place, bid))

    def begin(
        self, portion: Portion, app: Application, place: Place, now: float
    ) -> tuple[Gathering, str]:
        """The batch to which *portion* is added, and why that cannot be; "" if it can."""
        found = self.get(place, portion.bid)
        if found is not None:
            return found, found.refuses(portion)
        made = Gathering(app, place, dict(portion.fields), None, {"created_at": now})
        if portion.how != "new":
            return made, "finished"
        if portion.parent is not None:
            outer = self.get(place, portion.parent[0])
            if outer is None or not outer.blocks:
                return made, "finished"
            outer.join(portion.parent[1])
            made.outer = (outer, portion.parent[1])
            made.fields["parent"] = portion.parent[0]
        made.next = int(made.fields.pop("next"))
        self._known[place, portion.bid] = made
        return made, ""

    def join(self, job: PushedJob) -> None:
        """*job* has been pushed: it becomes a member, if it says so."""
        if job.attached.batch is not None:
            bid, number = job.attached.batch
            if (found := self.get(job.place, bid)) is not None:
                found.join(number)

    def end(self, job: PushedJob, state: MemberState, now: float) -> list[PushedJob]:
        """*job* has ended; returns the callbacks that are pushed now."""
        bid, number = job.attached.batch or ("", 0)
        found = self.get(job.place, bid)
        if found is None:
            return []
        found.change(number, state, failed=state == "dead")
        return self.settle(found, now)

    def settle(self, batch: Gathering | None, now: float) -> list[PushedJob]:
        """Do what is due in a batch and those around it; returns the callbacks."""
        pushed: list[PushedJob] = []
        while batch is not None:
            callbacks = batch.settle(now)
            for job in callbacks:
                self.join(job)  # those of a batch inside another one are members of that
            pushed += callbacks
            batch.tell_outer()
            batch = None if batch.outer is None else batch.outer[0]
        return pushed

    def clear(self) -> None:
        self._known.clear()
