"""Signatures, and what they are composed to: ``a.s(1) | b.s()``, ``chain``, ``group``, ``chord``.

Parts are values: composing and ``set`` make new ones. Nothing is sent before ``perform_async``. The
names and what they mean are those of Celery's canvas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Never, Self

from jobd.errors import ArgumentError, no_attribute
from jobd.graphs.graph import Graph, Key, Policy, Reference, Vertex
from jobd.graphs.plan import ERROR
from jobd.jobs.bound_job import Call
from jobd.jobs.canvas.planning import references
from jobd.jobs.canvas.pushing import apush, push
from jobd.jobs.canvas.settings import NONE, Bound, Settings, settings_of


@dataclass(frozen=True, slots=True)
class Built:
    """A part in a graph.

    Attributes:
        last: the steps after which it is done.
        value: what counts as its result.
    """

    last: tuple[Key, ...]
    value: Reference | None


class Part(ABC):
    """Anything that can be composed and pushed."""

    __slots__ = ()

    def __or__(self, other: Part) -> Chain:
        """One after the other."""
        if not isinstance(other, Part):
            raise ArgumentError(f"{self!r} | {other!r}: compose signatures, as in f.s(1) | g.s()")
        parts = self.parts if type(self) is Chain else (self,)
        more = other.parts if type(other) is Chain else (other,)
        return Chain((*parts, *more))

    @abstractmethod
    def build(self, graph: Graph[Bound], after: tuple[Key, ...], value: Reference | None) -> Built:
        """Add its steps to *graph*.

        Args:
            after: what they wait for.
            value: the result of that.
        """

    @abstractmethod
    def perform_async(self) -> str | None:
        """Push it.

        Returns:
            The id of the workflow, for :meth:`jobd.Workflow.get`; of a single signature that of its
            job.

        Raises:
            ArgumentError: it cannot be a workflow: arguments that do not fit, too many steps.
            UnavailableError: Redis did not accept it.
        """

    @abstractmethod
    async def aperform_async(self) -> str | None:
        """:meth:`perform_async` from a coroutine."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            elsewhere = name in ("delay", "apply_async", "send", "enqueue", "apply")
            raise no_attribute(self, name, "use perform_async" if elsewhere else "")


@dataclass(frozen=True, slots=True)
class Signature(Part):
    """A call that has not been made.

    Attributes:
        immutable: it takes no result of the step before it.
        on_failure, compensate: see :meth:`step`.
    """

    call: Call
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    immutable: bool = False
    on_failure: Policy = "stop"
    compensate: Signature | None = None

    def __repr__(self) -> str:
        return f"<signature of {self.call.definition.name}>"

    def set(self, **options: object) -> Signature:
        """The same with other options of the job, as for ``f.set``."""
        return replace(self, call=self.call.with_options(options))

    def step(
        self, *, on_failure: Policy | None = None, compensate: Signature | None = None
    ) -> Signature:
        """The same with other rules for its end.

        Args:
            on_failure: what happens when it has failed for good: ``"stop"`` (the default: steps
                after it do not run, other branches do), ``"continue"`` (they run, and see a
                :class:`jobd.FailedStep` instead of the result) or ``"cancel"`` (the workflow is
                cancelled).
            compensate: what undoes it, if the workflow is cancelled when it is done; takes its
                result first, unless it is made by ``si``.
        """
        if compensate is not None and not isinstance(compensate, Signature):
            raise ArgumentError(f"compensate needs a signature, as undo.s(), not {compensate!r}")
        return replace(
            self,
            on_failure=self.on_failure if on_failure is None else on_failure,
            compensate=self.compensate if compensate is None else compensate,
        )

    def build(self, graph: Graph[Bound], after: tuple[Key, ...], value: Reference | None) -> Built:
        meant = (key for one in references(self.args, self.kwargs) for key in one.steps())
        vertex = Vertex("", self.bound(value), (*after, *meant), self.on_failure)
        result = Reference(graph.add(vertex))
        if self.compensate is not None:
            vertex.undo = self.compensate.bound(result)
        return Built(tuple(result.steps()), result)

    def bound(self, first: Reference | None) -> Bound:
        """What a step runs that takes *first* before the arguments, unless it is immutable."""
        taken = None if self.immutable else first
        return Bound(self.call, self.args, self.kwargs, taken)

    def perform_async(self) -> str | None:
        return self.call.push(self.args, dict(self.kwargs))

    async def aperform_async(self) -> str | None:
        return await self.call.apush(self.args, dict(self.kwargs))


@dataclass(frozen=True, slots=True)
class Composed(Part):
    """Several parts."""

    parts: tuple[Part, ...]
    settings: Settings = NONE

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} of {', '.join(map(repr, self.parts[:5]))}>"

    def set(self, **options: object) -> Self:
        """The same with other options of the workflow.

        Args:
            id: pushing it twice under one id is pushing it once.
            name: for people.
            on_error: a signature that is pushed once, when the first step has failed for good.
        """
        if "on_error" in options:
            options["on_error"] = on_error_of(options["on_error"])
        return replace(self, settings=settings_of(self.settings, options))

    def perform_async(self) -> str | None:
        return push(self._graph(), self.settings)

    async def aperform_async(self) -> str | None:
        return await apush(self._graph(), self.settings)

    def _graph(self) -> Graph[Bound]:
        graph: Graph[Bound] = Graph()
        self.build(graph, (), None)
        return graph


def on_error_of(signature: object) -> object:
    """What is pushed when the first step has failed; what is not a signature stays."""
    return signature.bound(Reference(ERROR)) if isinstance(signature, Signature) else signature


class Chain(Composed):
    """Parts one after the other; each takes the result of the one before."""

    __slots__ = ()

    def build(self, graph: Graph[Bound], after: tuple[Key, ...], value: Reference | None) -> Built:
        built = Built(after, value)
        for index, part in enumerate(self.parts):
            if index and len(built.last) > 1 and not isinstance(part, Signature):
                # So that not everything after it waits for everything before it.
                joint = graph.add(Vertex("", None, built.last, value=built.value))
                built = Built((joint,), built.value)
            built = part.build(graph, built.last, built.value)
        return built


class Group(Composed):
    """Parts side by side; all take the result of what is before them. Its result is a list."""

    __slots__ = ()

    def build(self, graph: Graph[Bound], after: tuple[Key, ...], value: Reference | None) -> Built:
        built = [part.build(graph, after, value) for part in self.parts]
        last = tuple(key for one in built for key in one.last) or after
        values = tuple(one.value or Reference(()) for one in built)
        return Built(last, Reference(values))


def chain(*parts: Part | Iterable[Part]) -> Chain:
    """Parts one after the other: the result of each is the first argument of the next.

    Raises:
        ArgumentError: something is not a signature, or there is none.

    Example:
        >>> chain(fetch.s(url), parse.s(), store.s("pages")).perform_async()  # doctest: +SKIP
        '1befef82961e0772dce5ae4d'
    """
    found = _parts("chain", parts)
    if not found:
        raise ArgumentError("chain() needs at least one signature, as in chain(f.s(1), g.s())")
    return Chain(found)


def group(*parts: Part | Iterable[Part]) -> Group:
    """Parts side by side. What comes after it starts when all are done, and takes the list of their
    results in this order. An empty group is done at once.

    Example:
        >>> group(resize.s(path, width) for width in (320, 640)) | publish.s()  # doctest: +SKIP
    """
    return Group(_parts("group", parts))


def chord(header: Part | Iterable[Part], callback: Part) -> Chain:
    """A group and what takes the list of its results; the same as ``group(...) | callback``."""
    if not isinstance(callback, Part):
        raise ArgumentError(
            f"chord() needs a callback, as in chord(group, total.s()), {callback!r}"
        )
    return Chain((header if isinstance(header, Group) else group(header), callback))


def _parts(what: str, given: tuple[Part | Iterable[Part], ...]) -> tuple[Part, ...]:
    if len(given) == 1 and not isinstance(given[0], Part):
        if not isinstance(given[0], Iterable):
            raise ArgumentError(f"{what}() takes signatures, as f.s(1), not {given[0]!r}")
        given = tuple(given[0])
    for one in given:
        if not isinstance(one, Part):
            raise ArgumentError(f"{what}() takes signatures, as f.s(1), not {one!r}")
    return tuple(one for one in given if isinstance(one, Part))
