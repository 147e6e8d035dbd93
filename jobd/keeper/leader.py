"""The lead: of all keepers on one Redis one leads, for what one process should do.

Nothing's correctness depends on it. Everything is in one key, with a lease in the server's time;
the one that leads renews it, the others look every :data:`LOOK` seconds, and take it over when it
was given up or has ended. Each lead has a higher number than the one before.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import redis

from jobd.store import scripts
from jobd.store.keys import Keys

LEASE = 10.0
"""Seconds after the death of the leader in which another one takes over."""

LOOK = 1.5
"""Seconds between two looks; after a clean stop another one takes over within so many."""


class Seen(NamedTuple):
    """What a look has found.

    Attributes:
        due: when the first periodic job is due, in the server's time; inf if none is.
        again: seconds until the next look.
    """

    due: float
    again: float


class Leadership:
    """A keeper's part in the lead.

    Args:
        identity: its own, "" if it may not lead.
    """

    def __init__(self, client: redis.Redis, keys: Keys, identity: str) -> None:
        self._client = client
        self._places = [keys.jobd_leader, keys.periodic]
        self._identity = identity
        self._token = 0
        self._until = -math.inf
        self._offset = 0.0

    @property
    def token(self) -> int:
        """The number of its lead; 0 if it does not lead."""
        return self._token if time.monotonic() < self._until else 0

    def server_time(self) -> float:
        """The server's time now, as far as the last look tells (s)."""
        return time.monotonic() + self._offset

    def look(self) -> Seen:
        """Take or keep the lead, if possible.

        Raises:
            redis.RedisError: the server refused, or did not answer.
        """
        return self._call(self._identity, LEASE)

    def give_up(self) -> None:
        """Give the lead up, so that another one takes it at once; raises as :meth:`look`."""
        if self._identity and self._token:
            self._call(self._identity, 0)
        self._token = 0

    def _call(self, identity: str, lease: float) -> Seen:
        began = time.monotonic()
        now, token, left, due = scripts.LEAD(self._client, self._places, [identity, repr(lease)])
        ended = time.monotonic()
        self._offset = float(now) - (began + ended) / 2
        self._token = int(token)
        self._until = began + float(left)
        again = LOOK if self._token else min(LOOK, max(0.05, float(left)) if float(left) else LOOK)
        return Seen(float(due) if due else math.inf, again)
