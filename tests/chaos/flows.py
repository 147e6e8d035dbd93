"""Which batches and workflows are pushed, in which order: everything drawn from one seed."""

from __future__ import annotations

import enum
import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from jobd import Workflow, chain, chord, group
from jobd.jobs.canvas.parts import Composed
from tests.chaos.pushes import QUEUES, Fate

JOBS: dict[str, dict[str, Any]] = {
    "part": {},
    "brief": {},
    "falls": {"retry": 0},
    "called": {},
    "opens": {},
    "link": {},
    "gather": {},
    "undo": {},
    "alarm": {},
    "grows": {},
}
"""The jobs of :mod:`tests.chaos.flow_app` that are pushed, with their options."""

FATES = {"falls": Fate.DEAD, "brief": Fate.IN_TIME}
"""How they are to end; others :attr:`Fate.DONE`."""

BRIEF = 1.0
"""Seconds in which one must start that may be too late."""


class Shape(enum.StrEnum):
    """What a workflow looks like, or that it is a batch."""

    CHAIN = "chain"
    CHORD = "chord"
    WIDE = "wide chord"
    """With more members than one script pushes: a keeper goes on."""
    CAREFUL = "chord with a failed member"
    BROKEN = "chain that fails"
    UNDONE = "chain that is undone"
    GRAPH = "graph"
    GROWING = "chain that grows"
    BATCH = "batch"


_WEIGHTS = {
    Shape.CHAIN: 5,
    Shape.CHORD: 5,
    Shape.WIDE: 1,
    Shape.CAREFUL: 3,
    Shape.BROKEN: 2,
    Shape.UNDONE: 3,
    Shape.GRAPH: 3,
    Shape.GROWING: 3,
    Shape.BATCH: 15,
}


class Members(NamedTuple):
    """Of a batch: how many of each job, and the batches inside it.

    Attributes:
        opens: those that add as many as the number says.
        cancelled: whether a user cancels it.
        ends_early: whether a user cancels it or one around it.
    """

    parts: int
    falls: int
    brief: int
    opens: tuple[int, ...]
    inner: tuple[Members, ...]
    cancelled: bool
    ends_early: bool

    @property
    def least(self) -> int:
        """How many there are at least; callbacks of those inside are further ones."""
        own = self.parts + self.falls + self.brief + len(self.opens) + len(self.inner)
        return own if self.ends_early else own + sum(self.opens)


class Flow(NamedTuple):
    """A workflow, or a batch with *members*.

    Attributes:
        times: for how long each step runs (ms); so many there are.
        odd: which of them is not as the others.
    """

    id: str
    shape: Shape
    queue: str
    times: tuple[int, ...]
    odd: int
    members: Members | None = None

    @property
    def result(self) -> int:
        """Of its last step, if all goes well."""
        chains = {Shape.CHAIN: len(self.times) - 1, Shape.GROWING: 1}
        return chains.get(self.shape, len(self.times))


def flows(seed: int) -> Iterator[Flow]:
    """The endless sequence; it begins with each shape once.

    >>> from itertools import islice
    >>> list(islice(flows(7), 99)) == list(islice(flows(7), 99))
    True
    """
    chance = random.Random(f"{seed}.flows")
    for number in itertools.count():
        shapes = list(Shape)
        drawn = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        shape = shapes[number] if number < len(shapes) else drawn
        count = chance.randrange(120, 160) if shape is Shape.WIDE else chance.randrange(3, 9)
        times = tuple(chance.choice([0, 5, 5, 50, 300]) for _ in range(count))
        members = _members(chance, depth=2) if shape is Shape.BATCH else None
        odd = chance.randrange(count)
        yield Flow(f"flow-{number}", shape, chance.choice(QUEUES), times, odd, members)


def _members(chance: random.Random, depth: int, *, ends_early: bool = False) -> Members:
    cancelled = chance.random() < 0.15
    ends_early = ends_early or cancelled
    inside = chance.choice([0, 0, 1, 2]) if depth else 0
    return Members(
        parts=chance.randrange(12),
        # A batch that is cancelled would have members of which either may become.
        falls=0 if ends_early else chance.choice([0, 0, 0, 1, 2]),
        brief=chance.choice([0, 0, 1]),
        opens=tuple(chance.randrange(1, 4) for _ in range(chance.choice([0, 0, 1]))),
        inner=tuple(_members(chance, depth - 1, ends_early=ends_early) for _ in range(inside)),
        cancelled=cancelled,
        ends_early=ends_early,
    )


def workflow(flow: Flow, jobs: Any) -> Composed | Workflow:
    """A workflow for its push; *jobs* are the jobs by name."""
    count = len(flow.times)
    parts = [
        jobs.part.si(number, time).set(queue=flow.queue) for number, time in enumerate(flow.times)
    ]
    first, *others = parts
    made: Composed
    match flow.shape:
        case Shape.CHAIN:
            links = (jobs.link.s(place, flow.times[place]) for place in range(1, count))
            made = chain(first, *links)
        case Shape.CHORD:
            made = chord(parts, jobs.gather.s(count, -1))
        case Shape.WIDE:
            made = chain(jobs.part.si(0, 5), group(parts), jobs.gather.s(count, -1))
        case Shape.CAREFUL:
            parts[flow.odd] = jobs.falls.si().step(on_failure="continue")
            made = chord(parts, jobs.gather.s(count, flow.odd))
        case Shape.BROKEN:
            made = chain(first, jobs.falls.si(), jobs.link.s(1, 0)).set(on_error=jobs.alarm.s())
        case Shape.UNDONE:
            done = (one.step(compensate=jobs.undo.s(n)) for n, one in enumerate(parts[:3]))
            cancels = chain(*done, jobs.falls.si().step(on_failure="cancel"))
            made = group(cancels, *others).set(on_error=jobs.alarm.s())
        case Shape.GROWING:
            made = chain(jobs.grows.si(count).set(queue=flow.queue), jobs.link.s(1, 5))
        case Shape.GRAPH:
            graph = Workflow(id=flow.id)
            root = graph.step("0", first)
            steps = [graph.step(str(n), one, after=root) for n, one in enumerate(others, 1)]
            results = [one.result for one in (root, *steps)]
            graph.step("gather", jobs.gather.s(results, count, -1))
            return graph
        case _:
            raise AssertionError(f"{flow.shape} is no workflow")
    return made.set(id=flow.id)
