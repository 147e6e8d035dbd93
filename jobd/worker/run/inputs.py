"""The arguments of a step of a workflow that are results of others: read when it starts.

They are stored once, however many steps take them, and do not change any more when a step starts
that waits for them: each of its attempts gets the same. Payloads keep their size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec
import redis

from jobd.errors import JobdError
from jobd.graphs import inputs as given
from jobd.graphs.plan import ERROR, Inputs
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.wire.attachments import Node
from jobd.wire.payload import Work

MOST_BYTES = 16_777_216
"""Bytes of results that become arguments of one step as they are."""

MOST_LISTED = 10_000
"""The same in results. What is more becomes no list, but is read when it is needed."""

BATCH = 2_500
"""Results in one round trip: a chord of ten thousand must not wait for a hundred of them."""

_decode = msgspec.json.Decoder(Inputs).decode


class StepInputs:
    """Thread-safe: every call uses a connection of the client's pool."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def fill(self, work: Work, node: Node) -> None:
        """Put the results into the arguments of *work*.

        Raises:
            JobdError: they are gone, or too large.
            redis.RedisError: they could not be read.
        """
        key = self._keys.workflow(node.workflow)
        raw, first = cast(
            "list[bytes | None]", self._client.hmget(key, [f"i:{node.number}", "first"])
        )
        if raw is None:
            raise JobdError(
                f"the workflow {node.workflow} is gone, and with it the results that step "
                f"{node.number} takes"
            )
        inputs = _decode(raw)
        numbers = sorted(set(given.numbers(inputs)))
        found = self._read(key, numbers, first) if len(numbers) <= MOST_LISTED else None
        many: Callable[[list[int]], object] | None = None
        if found is None:
            # Loaded where it is needed first: most workers never run such a step.
            from jobd.features.workflows.results import StepResults

            many = partial(StepResults, self._client, self._keys, node.workflow)
            numbers = sorted(set(given.numbers(inputs, listed=False)))
            found = self._read(key, numbers, first)
        if found is None:
            raise JobdError(
                f"the results that this step takes have more than {MOST_BYTES:,} bytes. Make it a "
                "step that takes none, f.si(), and read them one after the other: "
                "current_step().results()"
            )
        values = {
            number: given.given(node.workflow, _numbered(number, first), each)
            for number, each in zip(numbers, given.outcomes(found), strict=True)
        }
        given.fill(work.args, work.kwargs, inputs, values.__getitem__, many)

    def _read(self, key: str, numbers: list[int], first: bytes | None) -> list[bytes | None] | None:
        """The stored results; None if they are too large."""
        found: list[bytes | None] = []
        room = MOST_BYTES
        for at in range(0, len(numbers), BATCH):
            wanted = [f"r:{_numbered(number, first)}" for number in numbers[at : at + BATCH]]
            part: list[bytes | None] = scripts.OUTCOMES(self._client, [key], [room, *wanted])
            found += part
            room -= sum(len(one) for one in part if one is not None)
            if room < 0:
                return None
        return found


def _numbered(number: int, first: bytes | None) -> int:
    """The number of a step that may stand for the first one that has failed."""
    return int(first or 0) if number == ERROR else number
