"""``WorkflowRun``: a workflow that has been pushed, by its id."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar, cast

import redis

from jobd.errors import JobNotFoundError, ResultTimeoutError, UnavailableError
from jobd.features.results.waiting import awaited, waited
from jobd.features.workflows import actions
from jobd.features.workflows.record import State, WorkflowInfo, outcome_of
from jobd.graphs.inputs import given
from jobd.jobs.client import Client
from jobd.store.connection import require_bytes
from jobd.store.keys import Keys
from jobd.store.protocol import Argument
from jobd.store.scripts import Script
from jobd.store.trouble import reason, where

T = TypeVar("T")


class WorkflowRun:
    """A workflow that has been pushed.

    Waiting is not polling: all waits of a process share one connection to Redis.

    Example:
        >>> run = jobd.Workflow.get("order-7")  # doctest: +SKIP
        >>> run.wait(timeout=60)  # doctest: +SKIP
        'done'
    """

    def __init__(self, ref: str, client: Client) -> None:
        self.id = ref
        self._client = client
        require_bytes(client.redis, "Workflow")
        self._keys = Keys(client.prefix)
        self._key = self._keys.workflow(ref)

    def __repr__(self) -> str:
        return f"<workflow {self.id}>"

    @property
    def info(self) -> WorkflowInfo:
        """Its state and that of its steps.

        Raises:
            JobNotFoundError: it is unknown: never pushed, or ended longer ago than a day.
            UnavailableError: Redis does not answer.
        """
        try:
            found = actions.info(self._client.redis, self._keys, self.id)
        except redis.RedisError as error:
            raise self._unavailable(error) from None
        if found is None:
            raise self._gone()
        return found

    @property
    def state(self) -> State:
        """``"running"``, ``"done"``, ``"failed"`` or ``"cancelled"``; see :attr:`info`."""
        return self.info.summary.state

    def wait(self, timeout: float | None = None) -> State:
        """Block until none of its jobs waits or runs any more; returns its state. One that has
        failed can be made to go on, see :meth:`retry`.

        Args:
            timeout: most seconds to wait; None to wait for ever.

        Raises:
            ResultTimeoutError: it has not ended in time.
            JobNotFoundError: it is unknown.
            UnavailableError: Redis does not answer.
        """
        return self._in_time(waited(self._client, self._key, self._ended, timeout), timeout)

    async def await_(self, timeout: float | None = None) -> State:
        """:meth:`wait` for coroutines; ``await run`` waits for ever."""
        return self._in_time(await awaited(self._client, self._key, self._ended, timeout), timeout)

    def __await__(self) -> Generator[object, None, State]:
        return self.await_().__await__()

    def result(self, step: str | int | None = None) -> Any:
        """What a step has returned; None if it has not ended, and a :class:`jobd.FailedStep` if it
        has failed.

        Args:
            step: its name or number; default: the last one, or the list of those after which none
                comes.

        Raises:
            KeyError: there is no such step.
        """
        info = self.info
        ordinary = [one for one in info.steps if not one.role and one.job]
        if step is None:
            before = {number for one in info.steps for number in one.after}
            last = [one.number for one in ordinary if one.number not in before]
            joints = [one for one in info.steps if not one.job and one.number not in before]
            last += [number for one in joints for number in one.after]
            found = self._results(sorted(last))
            return found[0] if len(found) == 1 else found
        numbers = [one.number for one in info.steps if step in (one.name, one.number)]
        if not numbers or step == "":
            raise KeyError(step)
        return self._results(numbers[:1])[0]

    def cancel(self) -> bool:
        """Cancel it: no step begins any more; a keeper takes out jobs of it that wait, and tells
        those that run. What is done is undone, where a step says how.

        Returns:
            Whether there was something to cancel.
        """
        return self._act(lambda: actions.cancel(self._call, self._keys, self.id))

    def retry(self) -> int:
        """Push the steps again that have failed for good and keep others from running; returns how
        many. Those that are done do not run again.

        Raises:
            ConflictError: it was cancelled.
        """
        redis_ = self._client.redis
        return self._act(lambda: actions.retry(redis_, self._call, self._keys, self.id))

    def _act(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except KeyError:
            raise self._gone() from None
        except redis.RedisError as error:
            raise self._unavailable(error) from None

    def _call(self, script: Script, keys: list[str], arguments: list[Argument]) -> int:
        return int(script(self._client.redis, keys, arguments))

    def _results(self, numbers: Sequence[int]) -> list[object]:
        if not numbers:
            return []
        fields = [f"r:{number}" for number in numbers]
        try:
            raws = cast("list[bytes | None]", self._client.redis.hmget(self._key, fields))
        except redis.RedisError as error:
            raise self._unavailable(error) from None
        return [
            given(self.id, number, outcome_of(raw))
            for number, raw in zip(numbers, raws, strict=True)
        ]

    def _ended(self) -> State | None:
        try:
            state = cast("bytes | None", self._client.redis.hget(self._key, "state"))
        except redis.RedisError as error:
            raise self._unavailable(error) from None
        if state is None:
            raise self._gone()
        return None if state == b"running" else cast(State, state.decode(errors="replace"))

    def _in_time(self, found: State | None, timeout: float | None) -> State:
        if found is None:
            raise ResultTimeoutError(f"workflow {self.id} has not ended within {timeout:g} s")
        return found

    def _gone(self) -> JobNotFoundError:
        return JobNotFoundError(
            f"there is no workflow {self.id}: it was never pushed, or it ended longer ago than a "
            "day"
        )

    def _unavailable(self, error: redis.RedisError) -> UnavailableError:
        place = where(self._client.redis)
        return UnavailableError(f"Redis at {place} does not tell of a workflow: {reason(error)}")
