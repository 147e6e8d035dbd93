"""The arguments of a step of a workflow that are results of others: read when it starts.

They are stored once, however many steps take them, and do not change any more when a step starts
that waits for them: each of its attempts gets the same. Payloads keep their size.
"""

from __future__ import annotations

from typing import cast

import msgspec
import redis

from jobd.errors import JobdError
from jobd.graphs import inputs as given
from jobd.graphs.plan import ERROR, Inputs
from jobd.store.keys import Keys
from jobd.wire.attachments import Node
from jobd.wire.payload import Work

MOST_BYTES = 16_777_216
"""Bytes of results that become arguments of one step."""

BATCH = 100
"""Results in one command: so many of the largest are what a worker can hold."""

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
        wanted = sorted(set(given.numbers(inputs)))
        numbers = [int(first or 0) if one == ERROR else one for one in wanted]
        found = given.outcomes(self._read(key, numbers))
        values = {
            one: given.given(node.workflow, number, each)
            for one, number, each in zip(wanted, numbers, found, strict=True)
        }
        given.fill(work.args, work.kwargs, inputs, values.__getitem__)

    def _read(self, key: str, numbers: list[int]) -> list[bytes | None]:
        found: list[bytes | None] = []
        room = MOST_BYTES
        for first in range(0, len(numbers), BATCH):
            fields = [f"r:{number}" for number in numbers[first : first + BATCH]]
            part = cast("list[bytes | None]", self._client.hmget(key, fields))
            found += part
            room -= sum(len(one) for one in part if one is not None)
            if room < 0:
                raise JobdError(
                    f"the results that this step takes have more than {MOST_BYTES:,} bytes. Make "
                    "it a step that takes none, f.si(), and read them one after the other: "
                    "current_step().results()"
                )
        return found
