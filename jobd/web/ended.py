"""The sessions that were ended by logging out, in Redis: there may be many processes of the
dashboard."""

from __future__ import annotations

import time
from typing import Any

import redis as redis_py

from jobd.api import Session
from jobd.web.session import LASTS
from jobd.web.snapshots import Snapshots

SEEN_WITHIN = 5.0
"""Seconds after which every process knows."""

_MOST = 10_000


class Ended:
    """Those whose cookies would still be good."""

    def __init__(self, api: Session, snapshots: Snapshots) -> None:
        self._api = api
        self._snapshots = snapshots

    def add(self, ident: str, until: float) -> None:
        """The session *ident*, whose cookie is good until then (Unix time), has ended.

        Raises:
            redis.RedisError: the server does not answer.
        """
        key = self._api.keys.web_ended
        with self._api.redis.pipeline(transaction=False) as pipe:
            pipe.zadd(key, {ident: repr(until)})
            pipe.zremrangebyscore(key, "-inf", repr(time.time()))
            pipe.zremrangebyrank(key, 0, -_MOST - 1)
            pipe.expire(key, LASTS + 60)
            pipe.execute()
        self._snapshots.changed()

    def has(self, ident: str) -> bool:
        """Whether it has. One command every five seconds, for everybody.

        Without Redis nobody can see or change anything, so then it does not matter.
        """
        try:
            return ident in self._snapshots.get("ended", SEEN_WITHIN, self._read)
        except redis_py.RedisError:
            return False

    def _read(self) -> frozenset[str]:
        found: Any = self._api.redis.zrange(self._api.keys.web_ended, 0, -1)
        return frozenset(ident.decode(errors="replace") for ident in found)
