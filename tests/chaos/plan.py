"""Which faults happen, in which order: everything drawn from one seed.

The same seed gives the same sequence. Whom a fault hits is drawn as a number between 0 and 1, a
place in the list of those who live at that moment; the moment itself depends on the machine.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from typing import NamedTuple


class Kind(enum.StrEnum):
    """What happens."""

    WORKER_KILL = "worker kill"
    KEEPER_KILL = "keeper kill"
    MASTER_KILL = "master kill"
    DAEMON_KILL = "daemon kill"
    """Master, keeper and workers at once, as a host that loses power."""
    MASTER_TERM = "master told to stop"
    MASTER_HUP = "master told to restart its workers"
    WORKER_STOP = "worker stop"
    KEEPER_STOP = "keeper stop"
    MASTER_STOP = "master stop"
    DAEMON_STOP = "daemon stop"
    """All of a daemon, for longer than its leases: a host that was cut off and comes back."""
    CONNECTION_KILL = "connection kill"
    ALL_CONNECTIONS_KILL = "all connections kill"
    SERVER_KILL = "server kill"
    SERVER_SHUTDOWN = "server shutdown"
    SERVER_STOP = "server stop"


# How often each comes, and for how long it lasts: for those that are stopped the time until they
# go on, for masters and the server the time until they are started again (s).
_WEIGHTS: dict[Kind, tuple[int, tuple[float, float]]] = {
    Kind.WORKER_KILL: (480, (0, 0)),
    Kind.KEEPER_KILL: (80, (0, 0)),
    Kind.MASTER_KILL: (60, (0, 1.5)),
    Kind.DAEMON_KILL: (50, (0, 1.5)),
    Kind.MASTER_TERM: (20, (0, 1.5)),
    Kind.MASTER_HUP: (20, (0, 0)),
    Kind.WORKER_STOP: (60, (0.05, 3)),
    Kind.KEEPER_STOP: (40, (0.05, 3)),
    Kind.MASTER_STOP: (40, (0.05, 3)),
    Kind.DAEMON_STOP: (3, (61, 66)),
    Kind.CONNECTION_KILL: (120, (0, 0)),
    Kind.ALL_CONNECTIONS_KILL: (30, (0, 0)),
    Kind.SERVER_KILL: (13, (0, 1)),
    Kind.SERVER_SHUTDOWN: (12, (0, 1)),
    Kind.SERVER_STOP: (12, (0.1, 6)),
}

MEAN_PAUSE = 0.15
"""Seconds between two faults, on average."""


class Fault(NamedTuple):
    """One fault: *victim* from 0 to 1, *seconds* that it lasts, *pause* after it (s)."""

    kind: Kind
    victim: float
    seconds: float
    pause: float


def faults(seed: int, *, long: bool = True) -> Iterator[Fault]:
    """The endless sequence of *seed*; without *long* none outlasts a lease.

    >>> from itertools import islice
    >>> list(islice(faults(7), 50)) == list(islice(faults(7), 50))
    True
    """
    chance = random.Random(seed)
    kinds = [kind for kind in Kind if long or kind is not Kind.DAEMON_STOP]
    weights = [_WEIGHTS[kind][0] for kind in kinds]
    while True:
        kind = chance.choices(kinds, weights)[0]
        yield Fault(
            kind,
            chance.random(),
            chance.uniform(*_WEIGHTS[kind][1]),
            chance.expovariate(1 / MEAN_PAUSE),
        )
