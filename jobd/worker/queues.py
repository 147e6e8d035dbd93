"""In which order, and in which proportion, the queues give jobs.

*strict*: a queue gives only when those before it are empty. *weighted*: a queue with weight 3 gives
three times as often as one with weight 1. *random*: all give equally often. The proportion holds
inside one claim of many jobs as well as over many claims of one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from jobd.config import QueueSpec


class QueueOrder:
    """Plans claims.

    Example:
        >>> strict = QueueOrder([QueueSpec("high", 0), QueueSpec("low", 0)], "strict")
        >>> strict.shares(10)
        [('high', 10), ('low', 10)]
    """

    def __init__(self, queues: Sequence[QueueSpec], mode: str) -> None:
        self.names = tuple(queue.name for queue in queues)
        self._strict = mode == "strict" or len(queues) == 1
        self._weights = [max(queue.weight, 1) for queue in queues]
        self._total = sum(self._weights)

    def shares(self, jobs: int) -> list[tuple[str, int]]:
        """Queues in the order to try, each with its share of a claim of *jobs* jobs.

        Shares of a weighted claim add up to *jobs*; what one queue lacks, the others fill.
        """
        if self._strict:
            return [(name, jobs) for name in self.names]
        exact = [jobs * weight / self._total for weight in self._weights]
        shares = [int(share) for share in exact]
        # What rounding left over is drawn by lot, so that small claims are fair on average.
        for _ in range(jobs - sum(shares)):
            missing = [max(e - s, 0.0) for e, s in zip(exact, shares, strict=True)]
            shares[random.choices(range(len(shares)), missing)[0]] += 1
        order = sorted(
            range(len(shares)),
            key=lambda at: random.random() ** (1 / self._weights[at]),
            reverse=True,
        )
        return [(self.names[at], shares[at]) for at in order]
