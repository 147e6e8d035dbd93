"""Which faults happen, and what is pushed: drawn from a seed."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from typing import NamedTuple

from jobd.jobs.client import Client
from jobd.wire.payload import new_jid

QUEUES = ("high", "default", "low")

MEAN_PAUSE = 0.3
"""Seconds between two faults, on average."""


class Kind(enum.StrEnum):
    """What happens."""

    WORKER_KILL = "worker killed"
    KEEPER_KILL = "keeper killed"
    MASTER_KILL = "master killed"
    DAEMON_KILL = "daemon killed"
    """Master, keeper and workers at once, as a host that loses power."""
    MASTER_TERM = "daemon stopped"
    MASTER_HUP = "daemon reloaded"
    WORKER_STOP = "worker frozen"
    CONNECTIONS_KILL = "connections cut"


_WEIGHTS = {
    Kind.WORKER_KILL: 45,
    Kind.KEEPER_KILL: 10,
    Kind.MASTER_KILL: 8,
    Kind.DAEMON_KILL: 8,
    Kind.MASTER_TERM: 4,
    Kind.MASTER_HUP: 4,
    Kind.WORKER_STOP: 8,
    Kind.CONNECTIONS_KILL: 10,
}

_CLASSES = {"work": 60, "rests": 10, "flaky": 15, "sleepy": 8, "doomed": 7}


class Fault(NamedTuple):
    """One fault: *victim* from 0 to 1, a place in the list of those who live; *pause* after it
    (s)."""

    kind: Kind
    victim: float
    pause: float


class Push(NamedTuple):
    """One job."""

    jid: str
    name: str


def faults(seed: int) -> Iterator[Fault]:
    """The endless sequence of *seed*.

    >>> from itertools import islice
    >>> list(islice(faults(7), 50)) == list(islice(faults(7), 50))
    True
    """
    chance = random.Random(seed)
    while True:
        kind = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        yield Fault(kind, chance.random(), chance.expovariate(1 / MEAN_PAUSE))


class Pusher:
    """Pushes jobs of all kinds."""

    def __init__(self, seed: int, client: Client) -> None:
        self._chance = random.Random(f"{seed}.pushes")
        self._client = client

    def push(self) -> Push:
        """Push the next one.

        Raises:
            UnavailableError: the server does not answer: the job may be there or not.
        """
        chance = self._chance
        made = Push(new_jid(), chance.choices(list(_CLASSES), list(_CLASSES.values()))[0])
        milliseconds = min(2000, int(chance.expovariate(1 / 60)))
        self._client.push(
            {
                "class": made.name,
                "args": [milliseconds],
                "queue": chance.choice(QUEUES),
                "jid": made.jid,
                **({"retry": 0} if made.name == "doomed" else {}),
            }
        )
        return made
