"""Tells dashboards and ``jobctl doctor`` that this keeper lives, and what is wrong with its daemon.

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
from jobd.version import VERSION

AGAIN = TTL / 3
"""Seconds between writes."""


class Troubles(Loop):
    """Writes that the keeper lives, and the trouble of its daemon as long as it lasts.

    Args:
        tag: the daemon's, to tell apart those of one host.
    """

    def __init__(self, client: redis.Redis, keys: Keys, tag: str) -> None:
        super().__init__("troubles", client)
        self._client = client
        self._keys = keys
        self._began = repr(clock.now())
        self._daemon = f"{hostname()}:{os.getppid()}"
        self._tag = tag
        self._text = self._written = ""
        self._since = 0.0
        self._leaving = False
        self.left = False
        """Whether what it has written is gone, after :meth:`leave`."""

    def tell(self, text: str) -> None:
        """The trouble is this now; "" if there is none. Called by another thread."""
        if text and not self._text:
            self._since = clock.now()
        self._text = valid(text)
        self.wake()

    def leave(self) -> None:
        """The keeper stops: nobody is to be told of a daemon that has ended. Called by another
        thread."""
        self._leaving = True
        self.wake()

    def turn(self) -> float:
        if self._leaving:
            for key in (self._keys.keepers, self._keys.troubles):
                self._write(key, "0", "")
            self.left = True
            return AGAIN
        self._write(self._keys.keepers, self._began, VERSION)
        text = self._text
        if text or self._written:
            self._write(self._keys.troubles, repr(self._since), text)
        self._written = text
        return AGAIN

    def _write(self, key: str, since: str, text: str) -> None:
        scripts.TROUBLE(self._client, [key], [TTL, self._daemon, self._tag, since, text])
