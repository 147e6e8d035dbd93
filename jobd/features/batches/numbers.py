"""The numbers that a block gives its jobs; others may give numbers of the same batch meanwhile."""

from __future__ import annotations

from collections import deque

AHEAD = 2_000
"""Numbers that a block has in hand after each step: more than are used up to the next one."""


class Numbers:
    """Numbers of one block.

    Args:
        alone: nobody else knows the batch yet, so that all numbers are free.
    """

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self._ranges: deque[range] = deque()
        self.used = 0

    def take(self) -> int | None:
        """The next one; None if some have to be reserved first.

        >>> numbers = Numbers(alone=True)
        >>> numbers.take(), numbers.take(), numbers.used
        (0, 1, 2)
        """
        if self._alone:
            self.used += 1
            return self.used - 1
        while self._ranges and not self._ranges[0]:
            self._ranges.popleft()
        if not self._ranges:
            return None
        first = self._ranges[0]
        self._ranges[0] = first[1:]
        self.used += 1
        return first[0]

    @property
    def left(self) -> int:
        """How many are in hand."""
        return sum(map(len, self._ranges))

    def share(self) -> int:
        """The batch becomes known to others; returns the first number that they may use."""
        self._alone = False
        self._ranges.append(range(self.used, self.used + AHEAD))
        return self.used + AHEAD

    def add(self, first: int, count: int) -> None:
        """Some have been reserved."""
        self._ranges.append(range(first, first + count))
