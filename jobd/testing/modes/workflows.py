"""Workflows in a test mode: which steps may begin, by the rules of ``store/lua/workflows.lua``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jobd.graphs.inputs import FailedStep, State, fill, given, outcome
from jobd.graphs.plan import ERROR, Plan
from jobd.text.exceptions import class_of, message_of
from jobd.wire import results
from jobd.wire.attachments import Node
from jobd.wire.payload import Work

Filler = Callable[[Work], None]
"""Puts results into the arguments of a step."""


@dataclass(slots=True)
class Flow:
    """A workflow.

    Attributes:
        waits: how many steps each still waits for.
        given: what each that has ended gives to others.
        first: the first failure.
    """

    plan: Plan
    waits: list[int]
    given: dict[int, object] = field(default_factory=dict)
    first: FailedStep | None = None
    cancelled: bool = False

    @classmethod
    def of(cls, plan: Plan) -> Flow:
        return cls(plan, [len(one.step.after) for one in plan.steps])

    def begin(self) -> list[int]:
        """The first steps that run something."""
        return self._open(list(self.plan.roots))

    def filler(self, node: Node) -> Filler | None:
        """What puts results into the arguments of a step."""
        inputs = self.plan.steps[node.number].inputs
        if inputs is None:
            return None

        def put(work: Work) -> None:
            fill(work.args, work.kwargs, inputs, self._value)

        return put

    def done(self, node: Node, result: object) -> list[int]:
        """A step is done; returns those that may begin.

        Raises:
            ArgumentError: others take its result, and JSON cannot carry it.
        """
        detail = results.done(result) if node.gives else results.done_if_possible(result)
        self.given[node.number] = given(self.plan.id, node.number, outcome(detail))
        return self._after(node.number)

    def failed(self, node: Node, jid: str, state: State, error: BaseException | None) -> list[int]:
        """A step has failed for good; returns those that may begin."""
        about = ("", "") if error is None else (class_of(error), message_of(error))
        step = self.plan.steps[node.number].step
        failure = FailedStep(self.plan.id, jid, state, *about, name=step.name)
        self.given[node.number] = failure
        if step.on_failure == "continue":
            return self._after(node.number)
        told = self.first is None
        self.first = self.first or failure
        self.cancelled = self.cancelled or step.on_failure == "cancel"
        roles = enumerate(self.plan.steps)
        return [number for number, one in roles if told and one.step.role == "error"]

    def goes_on(self, node: Node) -> bool:
        """Whether a failure of that step lets those after it run."""
        return self.plan.steps[node.number].step.on_failure == "continue"

    def _value(self, number: int) -> object:
        return self.first if number == ERROR else self.given.get(number)

    def _after(self, number: int) -> list[int]:
        ready = []
        for one in self.plan.steps[number].then:
            self.waits[one] -= 1
            if not self.waits[one]:
                ready.append(one)
        return [] if self.cancelled else self._open(ready)

    def _open(self, ready: list[int]) -> list[int]:
        """Those of them that run something; joints are done at once."""
        found = []
        for number in ready:
            if self.plan.steps[number].job is None:
                found += self._after(number)
            else:
                found.append(number)
        return found
