"""Passwords that were right a moment ago: a script that sends one with every request does not cost
50 ms each time.

Each is remembered for the network that it came from. Whoever guesses elsewhere finds none of them,
so that he learns nothing from how he is answered; whoever guesses from the same network is counted
(:mod:`jobd.web.access.attempts`), and they are not looked at while he has to wait.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time

from jobd.web.access.users import User

LASTS = 900.0
"""Seconds after which one is forgotten that was not used meanwhile."""

MOST = 1_000
"""How many are remembered; a user has one for each network that he works from."""


class Proven:
    """Those of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Known by a keyed hash that this process alone can compute.
        self._key = secrets.token_bytes(32)
        # Until when (monotonic time) each is good, in that order.
        self._known: dict[bytes, tuple[User, float]] = {}

    def get(self, source: str, name: str, password: str) -> User | None:
        """Who it is, if that password of his came from that network lately; costs next to
        nothing."""
        key = self._hash(source, name, password)
        with self._lock:
            user, until = self._known.pop(key, (None, 0.0))
            if user is None or until <= time.monotonic():
                return None
            self._known[key] = (user, time.monotonic() + LASTS)
            return user

    def add(self, source: str, name: str, password: str, user: User) -> None:
        """It was right."""
        key, now = self._hash(source, name, password), time.monotonic()
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = (user, now + LASTS)
            for old, (_, until) in list(self._known.items()):
                if until > now and len(self._known) <= MOST:
                    break
                del self._known[old]

    def _hash(self, source: str, name: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{source}\0{name}\0{password}".encode(), "sha256")
