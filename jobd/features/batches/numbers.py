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
        # Those in hand: the next one and the end of its range, and the ranges after that.
        self._next = self._end = 0
        self._ranges: deque[tuple[int, int]] = deque()
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
        if self._next == self._end:
            if not self._ranges:
                return None
            self._next, self._end = self._ranges.popleft()
        self.used += 1
        self._next += 1
        return self._next - 1

    @property
    def dry(self) -> bool:
        """Whether some have to be reserved."""
        return not self._alone and self._next == self._end and not self._ranges

    @property
    def left(self) -> int:
        """How many are in hand."""
        return self._end - self._next + sum(end - first for first, end in self._ranges)

    def share(self) -> int:
        """The batch becomes known to others; returns the first number that they may use."""
        self._alone = False
        self.add(self.used, AHEAD)
        return self.used + AHEAD

    def add(self, first: int, count: int) -> None:
        """Some have been reserved."""
        if count:
            self._ranges.append((first, first + count))
