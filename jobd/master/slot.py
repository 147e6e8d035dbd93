"""One slot: the place of a worker, of the keeper or of the zygote, which stays when its child
goes; and what has been ordered for it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from jobd.master.child import Child, Reason

BACKOFF_CAP = 30.0
"""Most seconds that a slot stays empty after a crash (before it is jittered)."""


class Backoff:
    """How long to wait before a crashed child's slot is filled again: 0, then 1 s, 2 s ... 30 s.

    The first crash costs no time: most processes are killed once, by memory or by a person. The
    others ±20 % at random, so that children that died together do not come back together.
    """

    def __init__(self) -> None:
        self._crashes = 0

    def crashed(self) -> float:
        """Count one crash; returns the seconds to wait."""
        delay = min(BACKOFF_CAP, 2.0 ** min(self._crashes - 1, 10)) if self._crashes else 0.0
        self._crashes += 1
        return delay * random.uniform(0.8, 1.2)

    def healthy(self) -> None:
        self._crashes = 0


@dataclass(slots=True, eq=False)
class Order:
    """A child that was asked for: there is one at once if the master forks it, later from a zygote.

    Attributes:
        beside: it is to be the slot's replacement, not the child that serves.
        child: it is there.
        error: it will not come, and why.
        unwanted: it is to leave as soon as it is there, for this reason.
    """

    beside: bool
    child: Child | None = None
    error: str = ""
    unwanted: Reason | None = None


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one worker, of the keeper, or of the zygote.

    *child* is the one that serves; *replacement* boots beside it to take its place; *order* is
    open. *start_at* is when an empty slot may be filled (monotonic seconds), and *crash* how the
    last child has crashed, in words.
    """

    role: str
    index: int
    child: Child | None = None
    replacement: Child | None = None
    order: Order | None = None
    start_at: float = 0.0
    crash: str = ""
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def empty(self) -> bool:
        """Whether it is to be filled: nobody is there, or has been asked for."""
        return self.child is None and self.replacement is None and self.order is None

    @property
    def backing_off(self) -> bool:
        return self.child is None and self.start_at > time.monotonic()
