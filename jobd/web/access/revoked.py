"""The sessions that were ended by logging out, in Redis: there may be many processes of the
dashboard.

Each is remembered until its cookie is worth nothing by itself: whoever could make us forget it
could bring a stolen cookie back to life. Of a user who logs out very often one mark stands for
many: his sessions that began before a moment have ended, whether he has logged out of them or not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

from jobd.api import Session
from jobd.api.shared.snapshots import Snapshots
from jobd.store import scripts
from jobd.web.access.session import LASTS

SEEN_WITHIN = 5.0
"""Seconds after which every process knows."""

MOST_OF_USER = 1_000
"""Sessions of a user that are remembered one by one; the older half of more becomes a mark."""

_CLOCKS = 60
"""Seconds by which the clocks of hosts may differ."""


class Ended:
    """Those whose cookies would still be good.

    They are a sorted set, by the ends (Unix time) of their cookies: ``SESSION:NAME``, or ``:NAME``
    for all sessions of a user that end until then.
    """

    def __init__(self, api: Session, snapshots: Snapshots) -> None:
        self._api = api
        self._snapshots = snapshots

    def add(self, name: str, ident: str, until: float) -> None:
        """The session *ident* of user *name*, whose cookie is good until then, has ended.

        Raises:
            UnavailableError: the server does not answer.
        """
        size = scripts.END_SESSION(
            self._api.redis,
            [self._api.keys.web_ended],
            [f"{ident}:{name}", repr(until), repr(time.time() - _CLOCKS), LASTS + _CLOCKS],
        )
        if size > MOST_OF_USER:
            self._mark(name)
        self._snapshots.changed()

    def has(self, name: str, ident: str, until: float) -> bool:
        """Whether it has. One command every five seconds, for everybody.

        Raises:
            UnavailableError: nobody knows, so the session must not be used.
        """
        ended = self._snapshots.get("ended", SEEN_WITHIN, self._read)
        return f"{ident}:{name}" in ended or until <= ended.get(f":{name}", 0.0)

    def _mark(self, name: str) -> None:
        """Let one mark stand for the older half, if there are too many of that user."""
        key, mark = self._api.keys.web_ended, f":{name}"
        mine = {
            each: until
            for each, until in self._read().items()
            if each.endswith(mark) and each != mark  # a name has no colon
        }
        if len(mine) <= MOST_OF_USER:
            return
        until = sorted(mine.values())[len(mine) // 2]
        with self._api.redis.pipeline(transaction=True) as pipe:
            pipe.zadd(key, {mark: repr(until)}, gt=True)
            pipe.zrem(key, *(each for each, end in mine.items() if end <= until))
            pipe.execute()

    def _read(self) -> Mapping[str, float]:
        found = cast(
            "list[tuple[bytes, float]]",
            self._api.redis.zrange(self._api.keys.web_ended, 0, -1, withscores=True),
        )
        return {each.decode(errors="replace"): until for each, until in found}
