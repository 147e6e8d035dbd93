"""Which faults happen, in which order: everything drawn from one seed.

The same seed gives the same sequence. Whom a fault hits is drawn as a number between 0 and 1, a
place in the list of those who live at that moment; the moment itself depends on the machine.

Most faults come in a quick row. In between there are a few *ordeals*, which the whole fleet goes
through: while one lasts nothing else happens, for it is those who live through it that must not
lose their jobs, nor see them run a second time.
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
    NETWORK_CUT = "network cut"
    """Between one daemon and the server, for less than a lease."""
    LONG_NETWORK_CUT = "long network cut"
    """For longer than a lease: others get the jobs."""
    OUTAGE = "outage of the server"
    """Killed, and started again much later with all its data: an ordeal, as those that follow."""
    FREEZE = "freeze of the server"
    CLOCK_FORWARD = "step of the server's clock forward"
    """And back in the end, as the next one forward."""
    CLOCK_BACK = "step of the server's clock back"


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
    Kind.DAEMON_STOP: (3, (66, 75)),
    Kind.CONNECTION_KILL: (120, (0, 0)),
    Kind.ALL_CONNECTIONS_KILL: (30, (0, 0)),
    Kind.SERVER_KILL: (13, (0, 1)),
    Kind.SERVER_SHUTDOWN: (12, (0, 1)),
    Kind.SERVER_STOP: (12, (0.1, 6)),
    Kind.NETWORK_CUT: (6, (1, 20)),
    Kind.LONG_NETWORK_CUT: (2, (66, 75)),
}
_OUTLAST_A_LEASE = (Kind.DAEMON_STOP, Kind.LONG_NETWORK_CUT)

# What comes once in so many kills, and for how long.
ORDEALS = (
    (Kind.CLOCK_FORWARD, (15, 25)),
    (Kind.OUTAGE, (20, 25)),
    (Kind.FREEZE, (20, 40)),
    (Kind.OUTAGE, (75, 120)),
    (Kind.CLOCK_BACK, (15, 25)),
    (Kind.FREEZE, (62, 80)),
    (Kind.OUTAGE, (20, 25)),
)
SHORT_ORDEALS = (
    (Kind.CLOCK_FORWARD, (0.5, 1)),
    (Kind.OUTAGE, (1.5, 2.5)),
)
_KILLS_PER_ROUND = 1000

MEAN_PAUSE = 0.15
"""Seconds between two faults, on average."""

CALM = 15.0
"""Seconds of calm after an ordeal, in which every keeper looks for leases that have ended."""


class Fault(NamedTuple):
    """One fault: *victim* from 0 to 1, *seconds* that it lasts, *pause* after it (s)."""

    kind: Kind
    victim: float
    seconds: float
    pause: float


def faults(seed: int, *, long: bool = True) -> Iterator[Fault]:
    """The endless sequence of *seed*, without ordeals; without *long* none outlasts a lease.

    >>> from itertools import islice
    >>> list(islice(faults(7), 50)) == list(islice(faults(7), 50))
    True
    """
    chance = random.Random(seed)
    kinds = [kind for kind in _WEIGHTS if long or kind not in _OUTLAST_A_LEASE]
    weights = [_WEIGHTS[kind][0] for kind in kinds]
    while True:
        kind = chance.choices(kinds, weights)[0]
        yield Fault(
            kind,
            chance.random(),
            chance.uniform(*_WEIGHTS[kind][1]),
            chance.expovariate(1 / MEAN_PAUSE),
        )


def ordeals(seed: int, kills: int, *, long: bool = True) -> list[tuple[int, Fault]]:
    """What the fleet goes through in a run of so many *kills*, each after how many of them.

    >>> [kills for kills, _ in ordeals(7, 80)]
    [10, 20, 30, 40, 50, 60, 70]
    """
    chance = random.Random(f"{seed}.ordeals")
    kinds = ORDEALS * max(1, round(kills / _KILLS_PER_ROUND)) if long else SHORT_ORDEALS
    return [
        (
            kills * number // (len(kinds) + 1),
            Fault(kind, chance.random(), chance.uniform(*seconds), pause=CALM if long else 0.0),
        )
        for number, (kind, seconds) in enumerate(kinds, 1)
    ]
