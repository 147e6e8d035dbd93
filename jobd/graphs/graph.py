"""The graph of a workflow while it is built: named steps, and what each comes after.

Steps may name others that are added later. :func:`ordered` puts them into an order in which each
comes after all that it waits for, and refuses what cannot be run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Generic, Literal, TypeVar

from jobd.errors import ArgumentError

T = TypeVar("T")

Policy = Literal["stop", "continue", "cancel"]
"""What happens when a step has failed for good: those after it do not run; they do, and see the
failure; or the whole workflow is cancelled."""

POLICIES: tuple[Policy, ...] = ("stop", "continue", "cancel")

MOST = 100_000
"""Steps of a workflow."""

Key = str | int
"""A name, or the number of a step in the order of additions."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The result of a step, in the arguments of another one.

    Attributes:
        of: the step; or several, whose results are a list.
    """

    of: Key | tuple[Reference, ...]

    def steps(self) -> Iterable[Key]:
        """The steps that it speaks of."""
        if not isinstance(self.of, tuple):
            yield self.of
            return
        for one in self.of:
            yield from one.steps()


@dataclass(slots=True)
class Vertex(Generic[T]):
    """A step.

    Attributes:
        name: "" for one without.
        what: what it runs; None for a joint, which only waits for those before it.
        after: steps that it waits for.
        on_failure: see :data:`Policy`.
        undo: what undoes it, where the workflow is cancelled after it is done.
        value: of a joint: what counts as its result.
    """

    name: str
    what: T | None
    after: tuple[Key, ...] = ()
    on_failure: Policy = "stop"
    undo: T | None = None
    value: Reference | None = None


@dataclass(slots=True)
class Graph(Generic[T]):
    """Steps in the order in which they were added."""

    vertices: list[Vertex[T]] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)

    def add(self, vertex: Vertex[T]) -> int:
        """Add a step; returns its number.

        Raises:
            ArgumentError: its name is taken, its policy is none, or there are too many.
        """
        if vertex.on_failure not in POLICIES:
            raise ArgumentError(
                f"on_failure must be one of {', '.join(POLICIES)}, not {vertex.on_failure!r}"
            )
        if len(self.vertices) >= MOST:
            raise ArgumentError(
                f"a workflow has at most {MOST:,} steps; use a batch for more jobs that do not "
                "depend on each other"
            )
        number = len(self.vertices)
        if vertex.name:
            self.claim(vertex.name, number)
        self.vertices.append(vertex)
        return number

    def claim(self, name: str, number: int) -> None:
        """Give a step a name.

        Raises:
            ArgumentError: another one has it.
        """
        if name in self.names:
            raise ArgumentError(f"two steps are called {name!r}; give each a name of its own")
        self.names[name] = number

    def number(self, key: Key) -> int:
        """The number of a step.

        Raises:
            ArgumentError: there is no such step.
        """
        if isinstance(key, int):
            return key
        try:
            return self.names[key]
        except KeyError:
            known = ", ".join(sorted(self.names)[:10]) or "none has a name"
            raise ArgumentError(f"there is no step {key!r}; the steps are: {known}") from None


def ordered(graph: Graph[T]) -> tuple[list[int], list[list[int]]]:
    """Numbers of the steps in an order in which each comes after those that it waits for, the first
    added first; and those, in terms of that order.

    Raises:
        ArgumentError: a step waits for one that does not exist, or for itself.

    >>> graph: Graph[str] = Graph()
    >>> _ = graph.add(Vertex("b", "b", after=("a",))), graph.add(Vertex("a", "a"))
    >>> ordered(graph)
    ([1, 0], [[], [0]])
    """
    waits = [sorted({graph.number(key) for key in one.after}) for one in graph.vertices]
    sorter: TopologicalSorter[int] = TopologicalSorter(dict(enumerate(waits)))
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " → ".join(_called(graph, number) for number in reversed(error.args[1]))
        raise ArgumentError(f"steps wait for each other in a circle: {circle}") from None
    order: list[int] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    place = {number: index for index, number in enumerate(order)}
    return order, [sorted(place[one] for one in waits[number]) for number in order]


def followers(after: Sequence[Sequence[int]]) -> list[list[int]]:
    """For each step, those that wait for it.

    >>> followers([[], [0], [0, 1]])
    [[1, 2], [2], []]
    """
    found: list[list[int]] = [[] for _ in after]
    for number, before in enumerate(after):
        for one in before:
            found[one].append(number)
    return found


def _called(graph: Graph[T], number: int) -> str:
    return graph.vertices[number].name or f"#{number}"
