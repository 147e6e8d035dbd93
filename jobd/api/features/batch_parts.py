"""What a batch is made of, for operators: the batches inside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobd.api.session import Session

STEP = 500
"""Batches of one step through all of them."""


def inside(session: Session, bid: str) -> Iterator[list[tuple[str, int]]]:
    """The batches inside another one, each with its number there, in steps through all batches."""
    keys, redis, place = session.keys, session.redis, 0
    while True:
        found: Any = redis.zrange(
            keys.batches, "-inf", "+inf", byscore=True, offset=place, num=STEP
        )
        bids = [each.decode(errors="replace") for each in found]
        if not bids:
            return
        with redis.pipeline(transaction=False) as pipe:
            for one in bids:
                pipe.hget(keys.batch(one), "parent")
            parents = [(parent or b"").decode(errors="replace") for parent in pipe.execute()]
        pairs = [(one, *parent.split(" ")) for one, parent in zip(bids, parents, strict=True)]
        yield [
            (one, int(number[0]))
            for one, outer, *number in pairs
            if outer == bid and number and number[0].isdigit()
        ]
        place += STEP
