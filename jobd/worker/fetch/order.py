"""In which order, and in which proportion, the queues give jobs.

*strict*: a queue gives only when those before it are empty. *weighted*: a queue with weight 3 gives
three times as often as one with weight 1. *random*: all give equally often. The proportion holds
inside one claim of many jobs as well as over many claims of one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from jobd.settings.daemon import QueueSpec


class QueueOrder:
    """Plans claims.

    Attributes:
        strict: whether the shares are limits.

    Example:
        >>> strict = QueueOrder([QueueSpec("high", 0), QueueSpec("low", 0)], "strict")
        >>> strict.shares(10, 3)
        [('high', 10), ('low', 3)]
    """

    def __init__(self, queues: Sequence[QueueSpec], mode: str) -> None:
        self.names = tuple(queue.name for queue in queues)
        self.strict = mode == "strict" or len(queues) == 1
        self._weights = [max(queue.weight, 1) for queue in queues]
        self._total = sum(self._weights)

    def shares(self, jobs: int, behind: int) -> list[tuple[str, int]]:
        """Queues in the order to try, each with its share of a claim of *jobs* jobs.

        Shares of a weighted claim add up to *jobs*; what one queue lacks, the others fill. Those of
        a strict one are limits: so many jobs there may be in all when that queue has given.

        Args:
            behind: the limit of a strict queue that has others before it. What is held of it makes
                those wait.
        """
        if self.strict:
            first, *others = self.names
            return [(first, jobs), *((name, behind) for name in others)]
        shares = [jobs * weight // self._total for weight in self._weights]
        # What rounding left over is drawn by lot, so that small claims are fair on average: as if
        # the rests lay in a row, and marks at equal distances were put on it, the first by lot.
        mark = random.randrange(self._total)
        for at, weight in enumerate(self._weights):
            mark -= jobs * weight % self._total
            if mark < 0:
                shares[at] += 1
                mark += self._total
        order = sorted(
            range(len(shares)),
            key=lambda at: random.random() ** (1 / self._weights[at]),
            reverse=True,
        )
        return [(self.names[at], shares[at]) for at in order]
