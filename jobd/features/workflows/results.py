"""``StepResults``: the results of many steps, for one that takes them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast, overload

import redis

from jobd.errors import JobdError, UnavailableError
from jobd.features.workflows.record import outcome_of
from jobd.graphs.inputs import BATCH, given
from jobd.store.keys import Keys
from jobd.store.trouble import reason, where


class StepResults(Sequence[Any]):
    """Results of steps in their order, instead of a list of them that would be too large: they are
    read some at a time, when they are needed, and again each time.

    Of a step that has failed it has a :class:`jobd.FailedStep`. Reading raises
    :class:`jobd.errors.UnavailableError` where Redis does not answer, and
    :class:`jobd.errors.JobdError` when the workflow is gone.

    Example:
        >>> @job  # doctest: +SKIP
        ... def total(counts: Sequence[int]) -> int:
        ...     return sum(counts)
    """

    __slots__ = ("_client", "_keys", "_numbers", "_workflow")

    def __init__(
        self, client: redis.Redis, keys: Keys, workflow: str, numbers: Sequence[int]
    ) -> None:
        self._client = client
        self._keys = keys
        self._workflow = workflow
        self._numbers = numbers

    def __repr__(self) -> str:
        return f"<{len(self):,} results of workflow {self._workflow}>"

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Any]:
        for first in range(0, len(self), BATCH):
            yield from self._read(self._numbers[first : first + BATCH])

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> StepResults: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return StepResults(self._client, self._keys, self._workflow, self._numbers[index])
        return self._read([self._numbers[index]])[0]

    def _read(self, numbers: Sequence[int]) -> list[Any]:
        fields = [f"r:{number}" for number in numbers]
        try:
            found = self._client.hmget(self._keys.workflow(self._workflow), ["state", *fields])
        except redis.RedisError as error:
            raise UnavailableError(
                f"Redis at {where(self._client)} does not give the results of steps: "
                f"{reason(error)}"
            ) from None
        state, *raws = cast("list[bytes | None]", found)
        if state is None:  # else steps that have returned nothing
            raise JobdError(
                f"the workflow {self._workflow} is gone, and with it the results of its steps"
            )
        return [
            given(self._workflow, number, outcome_of(raw))
            for number, raw in zip(numbers, raws, strict=True)
        ]
