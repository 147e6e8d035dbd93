"""``jobd.current_step()``: the step of a workflow that runs here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import redis

from jobd.errors import ArgumentError, JobdError, UnavailableError
from jobd.features.workflows.results import StepResults
from jobd.graphs.graph import Graph, Vertex
from jobd.graphs.plan import Plan, Step, steps_of
from jobd.jobs.app import default
from jobd.jobs.canvas.parts import Part
from jobd.jobs.canvas.planning import Drafts, client_of
from jobd.jobs.canvas.pushing import planned
from jobd.jobs.canvas.settings import Bound, Settings
from jobd.jobs.client import Client
from jobd.jobs.context import current_job
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.trouble import reason, where
from jobd.store.workflows import adding
from jobd.wire import attachments
from jobd.wire.attachments import Node


class CurrentStep:
    """The step that runs here.

    Attributes:
        workflow: id of its workflow.
        number: of the step in it.
    """

    def __init__(self, node: Node, client: Client) -> None:
        self.workflow = node.workflow
        self.number = node.number
        self._client = client
        self._keys = Keys(client.prefix)
        self._key = self._keys.workflow(node.workflow)

    def results(self) -> Iterator[Any]:
        """The results of the steps before this one, in their order, read a hundred at a time: for a
        callback that is made by ``si`` because they are many or large.

        Raises:
            UnavailableError: Redis does not answer.

        Example:
            >>> for value in current_step().results():  # doctest: +SKIP
            ...     total += value
        """
        numbers = list(_before(steps_of(self._read()), self.number))
        return iter(StepResults(self._client.redis, self._keys, self.workflow, numbers))

    def add(self, part: Part, *, wait: bool = True) -> None:
        """Add steps after this one.

        They begin when it is done. A step that is run again, because it has failed or its worker
        has died, has added them already: the first time counts. So let it add in the same order
        each time: from threads, one after the other.

        Args:
            part: a signature, chain, group or chord; its first steps take no result.
            wait: steps that come after this one wait for those, too.

        Raises:
            ArgumentError: they cannot be run, or there are too many.
            JobdError: the workflow is gone, or this step is no longer one that runs.
            UnavailableError: Redis does not answer.

        Example:
            >>> current_step().add(group(load.s(page) for page in pages))  # doctest: +SKIP
        """
        if not isinstance(part, Part):
            raise ArgumentError(f"add() needs a signature, as f.s(1), not {part!r}")
        additions = current_job().additions
        with additions.lock:
            additions.count += 1
            self._add(part, wait, additions.count)

    def _add(self, part: Part, wait: bool, count: int) -> None:
        total = -1
        while True:
            if total < 0:
                found = self._read()
                total = int(found.get(b"total", b"0"))
            plan, joint = self._plan(part, total, wait)
            if plan is None:
                return
            places, words = adding(self._keys, plan, self.number, count, joint)
            try:
                told = int(scripts.ADD_STEPS(self._client.redis, places, words))
            except redis.RedisError as error:
                raise self._unavailable(error) from None
            if told in (0, -3):
                return
            if told == -1:
                raise self._gone()
            if told == -2:
                raise JobdError("this step does not run any more, so none can be added after it")
            total = told  # another step has added some meanwhile

    def _plan(self, part: Part, first: int, wait: bool) -> tuple[Plan | None, int | None]:
        graph: Graph[Bound] = Graph()
        built = part.build(graph, (), None)
        last = graph.add(Vertex("", None, built.last)) if wait else None
        if client_of(graph) is None:
            return None, None
        drafts = Drafts(graph, self.workflow, None, first)
        plan = planned(self._client, drafts, Settings())
        return plan, None if last is None else drafts.place(last)

    def _read(self) -> dict[bytes, bytes]:
        """The chunks of the graph, and how many steps there are."""
        try:
            keys = cast("list[bytes]", self._client.redis.hkeys(self._key))
            names = [b"total", *(one for one in keys if one[:2] == b"g:")]
            values = cast("list[bytes | None]", self._client.redis.hmget(self._key, names))
        except redis.RedisError as error:
            raise self._unavailable(error) from None
        if values[0] is None:
            raise self._gone()
        return {k: v for k, v in zip(names, values, strict=True) if v is not None}

    def _gone(self) -> JobdError:
        return JobdError(f"the workflow {self.workflow} of this step is gone")

    def _unavailable(self, error: redis.RedisError) -> UnavailableError:
        place = where(self._client.redis)
        return UnavailableError(f"Redis at {place} does not tell of a workflow: {reason(error)}")


def current_step(client: Client | None = None) -> CurrentStep:
    """The step of a workflow that this thread or task is running.

    Args:
        client: where the workflow was pushed; default: where the default application pushes.

    Raises:
        JobdError: it is not running one.
    """
    job = current_job()
    field = job.payload.get(attachments.FIELD)
    node = attachments.read(field).node if field is not None else None
    if node is None:
        raise JobdError(f"{job!r} is not a step of a workflow")
    return CurrentStep(node, default.client if client is None else client)


def _before(steps: list[Step], number: int) -> Iterator[int]:
    """The steps before one, without joints."""
    for one in steps[number].after:
        if steps[one].job:
            yield one
        else:
            yield from _before(steps, one)
