"""From a graph to what is stored: the payload of each step, and where its arguments come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from jobd.ambient import clock
from jobd.errors import ArgumentError
from jobd.graphs.graph import MOST, Graph, Key, Policy, Reference, followers, ordered
from jobd.graphs.inputs import numbers
from jobd.graphs.plan import ERROR, About, Inputs, Plan, Planned, Ready, Role, Source, Step, jid_of
from jobd.jobs.canvas.settings import Bound, Settings
from jobd.jobs.client import Client
from jobd.jobs.context import running_job
from jobd.wire import attachments
from jobd.wire import payload as wire
from jobd.wire.attachments import EXPIRES_IN, Node, Pushed

_UNIQUE = ("unique", "unique_for", "debounce")


class Draft(NamedTuple):
    """A step whose payload has not been through the middleware.

    Attributes:
        made: its payload; None for a joint.
    """

    step: Step
    bound: Bound | None
    made: wire.Payload | None
    inputs: Inputs | None
    expires_in: float | None


class Drafts:
    """The steps of a workflow, in their order.

    Args:
        graph: what to run.
        workflow: its id.
        first: number of the first step.
        outside: a step that these are added after; it counts as done.

    Raises:
        ArgumentError: something in it cannot be run.
    """

    def __init__(
        self, graph: Graph[Bound], workflow: str, on_error: Bound | None = None, first: int = 0
    ) -> None:
        self._graph = graph
        self._workflow = workflow
        self._first = first
        order, self._after = ordered(graph)
        self._place = {number: first + index for index, number in enumerate(order)}
        extra: list[tuple[Bound, Role, int]] = [
            (undo, "undo", self._place[number])
            for number in order
            if (undo := graph.vertices[number].undo) is not None
        ]
        if on_error is not None:
            extra.append((on_error, "error", -1))
        if first + len(order) + len(extra) > MOST:
            raise ArgumentError(
                f"a workflow has at most {MOST:,} steps, with those that undo others; use a batch "
                "for more jobs that do not depend on each other"
            )
        whats = [(graph.vertices[number].what, graph.vertices[number]) for number in order]
        inputs = [self._inputs(what) for what, _ in whats]
        more = [self._inputs(bound) for bound, _, _ in extra]
        self._given = {one for each in (*inputs, *more) if each for one in numbers(each)}
        self.drafts: list[Draft] = []
        for (what, vertex), after, taken in zip(whats, self._after, inputs, strict=True):
            places = tuple(first + one for one in after)
            self._add(vertex.name, what, taken, places, vertex.on_failure)
        for (bound, role, of), taken in zip(extra, more, strict=True):
            self._add("", bound, taken, (), "stop", role, of)

    def _add(
        self,
        name: str,
        what: Bound | None,
        inputs: Inputs | None,
        after: tuple[int, ...],
        on_failure: Policy,
        role: Role = "",
        of: int = -1,
    ) -> None:
        number = self._first + len(self.drafts)
        if what is None:
            self.drafts.append(Draft(Step(name, "", after), None, None, None, None))
            return
        made = what.call.step(
            tuple(_plain(one) for one in what.args),
            {key: _plain(value) for key, value in what.kwargs.items()},
            jid_of(self._workflow, number),
            more=int(inputs is not None and inputs.first is not None),
        )
        job: str = made["class"]
        if any(made.get(option) for option in _UNIQUE):
            raise ArgumentError(
                f"{job} is unique, but a step of a workflow is told apart by its workflow: use "
                f"{job}.s(...).set(unique=False), without unique_for and debounce"
            )
        expires_in = made.pop(EXPIRES_IN, None)
        node = Node(self._workflow, number, inputs is not None, number in self._given)
        attachments.add(made, node=node)
        step = Step(name, job, after, on_failure, role, of)
        self.drafts.append(Draft(step, what, made, inputs, expires_in))

    # -- where arguments come from ---------------------------------------------------------------

    def _inputs(self, what: Bound | None) -> Inputs | None:
        if what is None:
            return None
        at = [
            (path, self._source(reference))
            for name, value in (("args", what.args), ("kwargs", what.kwargs))
            for path, reference in _found(value, [name])
        ]
        first = None if what.first is None else self._source(what.first)
        return Inputs(first, at) if at or first is not None else None

    def _source(self, reference: Reference) -> Source:
        of = reference.of
        if isinstance(of, tuple):
            return [self._source(one) for one in of]
        if of == ERROR:
            return ERROR
        number = self._graph.number(of)
        value = self._graph.vertices[number].value
        return self._place[number] if value is None else self._source(value)

    # -- afterwards ------------------------------------------------------------------------------

    def plan(self, about: About, ready: Sequence[Ready | None]) -> Plan:
        """The plan, with the job of each step."""
        then = followers([()] * self._first + [one.step.after for one in self.drafts])
        steps = [
            Planned(draft.step, job, draft.inputs, tuple(then[number]))
            for number, (draft, job) in enumerate(zip(self.drafts, ready, strict=True), self._first)
        ]
        roots = tuple(
            number
            for number, draft in enumerate(self.drafts, self._first)
            if not draft.step.after and not draft.step.role
        )
        return Plan(self._workflow, about, steps, roots, self._first)

    def place(self, key: Key) -> int:
        """The number that a step of the graph has got."""
        return self._place[self._graph.number(key)]


def client_of(graph: Graph[Bound], on_error: Bound | None = None) -> Client | None:
    """Where all steps of *graph* are pushed, with what undoes them and *on_error*; None if none of
    them runs anything.

    Raises:
        ArgumentError: not all to the same Redis.
    """
    whats = [one.what for one in graph.vertices if one.what is not None]
    if not whats:
        return None
    undos = [one.undo for one in graph.vertices if one.undo is not None]
    found = whats[0].call.owner.client
    for bound in [*whats, *undos, *([] if on_error is None else [on_error])]:
        client = bound.call.owner.client
        if (client.url, client.prefix) != (found.url, found.prefix):
            raise ArgumentError(
                f"the steps of a workflow are pushed to one Redis, but "
                f"{bound.call.definition.name} goes to another one than those before it"
            )
    return found


def ready(
    client: Client, draft: Draft, prepared: tuple[wire.Payload, Pushed | None] | None
) -> Ready:
    """The job of a step, after the middleware.

    Raises:
        ArgumentError: the middleware has stopped its push, or JSON cannot carry the arguments.
    """
    if prepared is None or draft.bound is None:
        raise ArgumentError(
            f"client middleware has stopped the push of the step {draft.step.job}, so nothing of "
            "the workflow was pushed"
        )
    made, pushed = prepared
    made[attachments.FIELD] = made.pop(attachments.FIELD)  # the last one, see workflows.lua
    raw = wire.encode(made, client.max_payload, draft.bound.call.parameters.names)
    keep = None if pushed is None else pushed.result
    return Ready(raw, str(made["jid"]), made["queue"], draft.expires_in, keep)


def about(settings: Settings) -> About:
    """What is known of a workflow that is pushed now."""
    parent = running_job()
    return About(clock.now(), settings.name, parent=None if parent is None else parent.jid)


def references(*values: object) -> Iterator[Reference]:
    """The references in arguments, also inside of lists and dicts."""
    for value in values:
        for _, reference in _found(value, []):
            yield reference


def _found(value: object, path: list[str | int]) -> Iterator[tuple[list[str | int], Reference]]:
    inside: Iterable[tuple[str | int, object]]
    if isinstance(value, Reference):
        yield path, value
        return
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    else:
        return
    for key, one in inside:
        yield from _found(one, [*path, key])


def _plain(value: object) -> object:
    """*value* with null for each reference."""
    if isinstance(value, Reference):
        return None
    if next(_found(value, []), None) is None:
        return value  # with its own type, which the push checks
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
