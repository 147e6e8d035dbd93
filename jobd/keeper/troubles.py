"""Tells dashboards what is wrong with this daemon.

A master has no connection to Redis, and in a crash loop no worker lives long enough to say so.
"""

from __future__ import annotations

import os

import redis

from jobd.ambient import clock
from jobd.api.troubles import TTL
from jobd.runtime.process.identity import hostname
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.text.printable import valid

AGAIN = TTL / 3
"""Seconds between writes while the trouble lasts."""

_IDLE = 3600.0


class Troubles(Loop):
    """Writes the trouble of the daemon as long as it lasts.

    Args:
        tag: the daemon's, to tell apart those of one host.
    """

    def __init__(self, client: redis.Redis, keys: Keys, tag: str) -> None:
        super().__init__("troubles", client)
        self._client = client
        self._key = keys.troubles
        self._daemon = f"{hostname()}:{os.getppid()}"
        self._tag = tag
        self._text = self._written = ""
        self._since = 0.0

    def tell(self, text: str) -> None:
        """The trouble is this now; "" if there is none. Called by another thread."""
        if text and not self._text:
            self._since = clock.now()
        self._text = valid(text)
        self.wake()

    def turn(self) -> float:
        text = self._text
        if text or self._written:
            entry = [self._daemon, self._tag, repr(self._since), text]
            scripts.TROUBLE(self._client, [self._key], [TTL, *entry])
        self._written = text
        return AGAIN if text else _IDLE
