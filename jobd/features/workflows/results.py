"""``StepResults``: the results of many steps, for one that takes them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import redis

from jobd.errors import JobdError, UnavailableError
from jobd.features.workflows.record import outcome_of
from jobd.graphs.inputs import given
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.trouble import reason, where
from jobd.wire.json_value import Array

AT_ONCE = 250
"""Results in one round trip,"""

BYTES = 4_194_304
"""and about their bytes: they may have a megabyte each."""


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
        place = 0
        while place < len(self):
            part = self._read(self._numbers[place : place + AT_ONCE])
            yield from part
            place += len(part)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> StepResults: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return StepResults(self._client, self._keys, self._workflow, self._numbers[index])
        return self._read([self._numbers[index]])[0]

    def _read(self, numbers: Sequence[int]) -> Array:
        """The results of the first ones of these, one at least."""
        key, fields = self._keys.workflow(self._workflow), [f"r:{number}" for number in numbers]
        try:
            raws: list[bytes | None] = scripts.OUTCOMES(self._client, [key], [BYTES, *fields])
            # Else steps that have returned nothing.
            gone = not any(raws) and not self._client.hexists(key, "state")
        except redis.RedisError as error:
            raise UnavailableError(
                f"Redis at {where(self._client)} does not give the results of steps: "
                f"{reason(error)}"
            ) from None
        if gone:
            raise JobdError(
                f"the workflow {self._workflow} is gone, and with it the results of its steps"
            )
        return [
            given(self._workflow, number, outcome_of(raw))
            for number, raw in zip(numbers, raws, strict=False)
        ]
