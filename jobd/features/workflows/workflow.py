"""``jobd.Workflow``: any graph without circles, of steps with names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from jobd.errors import ArgumentError
from jobd.features.workflows.run import WorkflowRun
from jobd.graphs.graph import Graph, Key, Policy, Reference, Vertex
from jobd.jobs.app import default
from jobd.jobs.canvas.parts import Part, Signature, on_error_of
from jobd.jobs.canvas.pushing import apush, push
from jobd.jobs.canvas.settings import Bound, Settings, settings_of
from jobd.jobs.client import Client


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a workflow that is being built.

    Attributes:
        result: what it will return, for the arguments of other steps.
    """

    name: str
    result: Reference


After: TypeAlias = Step | str | Iterable[Step | str] | None


class Workflow:
    """Steps that depend on each other.

    A step runs when those are done that it comes after: those named by *after*, and those whose
    results are among its arguments.

    Args:
        name: for people.
        id: pushing it twice under one id is pushing it once; default a random one.
        on_error: a signature that is pushed once, when the first step has failed for good; takes a
            :class:`jobd.FailedStep` first, unless it is made by ``si``.

    Raises:
        ArgumentError: an option has an invalid value.

    Example:
        >>> flow = Workflow("order", id="order-7")
        >>> flow
        <workflow order with 0 steps>
    """

    def __init__(self, name: str = "", *, id: str = "", on_error: Signature | None = None) -> None:
        given = {"name": name, "id": id, "on_error": on_error_of(on_error)}
        self._settings = settings_of(Settings(), given)
        self._graph: Graph[Bound] = Graph()

    def __repr__(self) -> str:
        return f"<workflow {self._settings.name} with {len(self._graph.names)} steps>"

    def step(
        self,
        name: str,
        part: Part,
        *,
        after: After = None,
        on_failure: Policy | None = None,
        compensate: Signature | None = None,
    ) -> Step:
        """Add a step.

        Args:
            name: its name, which no other one has.
            part: what it runs: a signature, or a chain, group or chord, which ends when its last
                jobs have.
            after: steps, or names of steps, that it waits for; they may be added later.
            on_failure, compensate: as for :meth:`Signature.step`.

        Raises:
            ArgumentError: the name is taken, or something is not what it should be.
        """
        if not isinstance(name, str) or not name or len(name) > 200 or not name.isprintable():
            raise ArgumentError(f"a step needs a name of printable characters, not {name!r}")
        if not isinstance(part, Part):
            raise ArgumentError(f"step {name!r} needs a signature, as f.s(1), not {part!r}")
        if on_failure is not None or compensate is not None:
            if not isinstance(part, Signature):
                raise ArgumentError(
                    f"step {name!r}: give on_failure and compensate to the signatures in it, as "
                    "f.s(1).step(on_failure='continue')"
                )
            part = part.step(on_failure=on_failure, compensate=compensate)
        if name in self._graph.names:
            raise ArgumentError(f"two steps are called {name!r}; give each a name of its own")
        keys = tuple(_keys(name, after))
        built = part.build(self._graph, keys, None)
        if isinstance(part, Signature):
            [last] = built.last
            number = self._graph.number(last)
            self._graph.vertices[number].name = name
        else:
            number = self._graph.add(Vertex("", None, built.last, value=built.value))
            self._graph.vertices[number].name = name
        self._graph.claim(name, number)
        return Step(name, Reference(name))

    def result(self, name: str) -> Reference:
        """What the step of that name will return, which may be added later."""
        return Reference(name)

    def perform_async(self) -> str | None:
        """Push it.

        Returns:
            Its id, also if there is one with it already; None if it has no steps.

        Raises:
            ArgumentError: steps wait for each other in a circle, or for one that does not exist;
                arguments do not fit; there are too many steps. Nothing is pushed.
            UnavailableError: Redis did not accept it.
        """
        return push(self._graph, self._settings)

    async def aperform_async(self) -> str | None:
        """:meth:`perform_async` from a coroutine."""
        return await apush(self._graph, self._settings)

    @staticmethod
    def get(ref: str, client: Client | None = None) -> WorkflowRun:
        """The workflow with that id, however it was pushed; nothing is sent.

        Args:
            client: where it was pushed; default: where the default application pushes.
        """
        return WorkflowRun(str(ref), default.client if client is None else client)


def _keys(name: str, after: After) -> Iterable[Key]:
    given = [after] if isinstance(after, Step | str) else list(after or ())
    for one in given:
        if not isinstance(one, Step | str):
            raise ArgumentError(f"step {name!r}: after takes steps or their names, not {one!r}")
        yield one.name if isinstance(one, Step) else one
