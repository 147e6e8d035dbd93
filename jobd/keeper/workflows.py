"""Goes on with workflows of which a script has left something: steps to push, jobs to cancel."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import redis

from jobd.ambient import clock
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.loops import Loop

INTERVAL = 1.0
"""Seconds between looks at what is to do."""

UNUSED = 5.0
"""The same where no workflow has been pushed so far."""

AT_ONCE = 20
"""Workflows in one look."""


class Workflows(Loop):
    """The loop that does it."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        super().__init__("workflows", client)
        self._client = client
        self._keys = keys

    def turn(self) -> float:
        seconds, micros = self._client.time()
        # Too early does no harm; a clock of this host that is behind must not make it late.
        now = max(seconds + micros / 1e6, clock.now())
        due = self._client.zrange(
            self._keys.workflows_due, "-inf", repr(now), byscore=True, offset=0, num=AT_ONCE
        )
        for ref in cast("list[bytes]", due):
            self._go_on(ref.decode(errors="replace"))
        if due:
            return INTERVAL
        return INTERVAL if self._client.exists(self._keys.workflows) else UNUSED

    def _go_on(self, ref: str) -> None:
        more = cancelling = True
        while more and not self._ending:
            more, cancelling = map(bool, scripts.ADVANCE(self._client, [self._keys.queues], [ref]))
        if cancelling:
            # Loaded where it is needed first: most keepers never cancel one.
            from jobd.api.features.workflows import Workflows as Acting
            from jobd.api.session import Session

            session = Session(self._client, self._keys.prefix)
            with suppress(KeyError):
                Acting(session.acting_as("keeper")).jobs_of(ref).until()
