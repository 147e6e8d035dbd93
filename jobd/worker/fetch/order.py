"""Queue order: from which queues, and in which proportion, jobs are claimed.

*strict*: a queue is used only when those before it are empty. *weighted*: a queue with weight 3 is
used three times as often as one with weight 1. *random*: all are used equally often. The proportion
holds within one claim of many jobs as well as over many claims of one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from jobd.settings.daemon import QueueSpec

_MOST_PARTS = 64
"""Orders of some of the queues that are kept."""


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
        self._mode = mode
        self._queues = {queue.name: queue for queue in queues}
        self._parts: dict[tuple[str, ...], QueueOrder] = {self.names: self}
        self._weights = [max(queue.weight, 1) for queue in queues]
        self._total = sum(self._weights)

    def only(self, names: tuple[str, ...]) -> QueueOrder:
        """The same order for some of its queues.

        >>> QueueOrder([QueueSpec("a", 3), QueueSpec("b", 1)], "weighted").only(("b",)).shares(4, 0)
        [('b', 4)]
        """
        part = self._parts.get(names)
        if part is None:
            if len(self._parts) >= _MOST_PARTS:
                self._parts = {self.names: self}
            part = QueueOrder([self._queues[name] for name in names], self._mode)
            self._parts[names] = part
        return part

    def shares(self, jobs: int, behind: int) -> list[tuple[str, int]]:
        """Queues in the order to try, each with its share of a claim of *jobs* jobs.

        Weighted shares add up to *jobs*; if one queue has too few, the others make up for it.
        Strict shares are limits: the most jobs in total once that queue has been taken from.

        Args:
            behind: the limit of strict queues after the first. Jobs held from them make the
                earlier queues wait.
        """
        if self.strict:
            first, *others = self.names
            return [(first, jobs), *((name, behind) for name in others)]
        shares = [jobs * weight // self._total for weight in self._weights]
        # The rounding remainders are distributed by systematic sampling, so that small claims are
        # fair on average.
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
