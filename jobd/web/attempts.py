"""Wrong passwords are counted, and too many of them make everybody wait."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from starlette.requests import Request

from jobd.api import Session
from jobd.web.place import network
from jobd.web.refusals import TooMany, Unauthorized
from jobd.web.users import User, Users

WITHIN = 900
"""Seconds for which a wrong password counts."""

MOST_OF_ADDRESS = 10
MOST_OF_NAME = 50
"""Wrong passwords within that time, from one address and for one user."""

AT_ONCE = 4
"""Passwords that are looked at together. Each takes 16 MB and 50 ms of a processor; those who wait
hold no thread, so that logging in cannot keep pages from being served."""

_log = logging.getLogger("jobd.web")
_limiter: RunVar[CapacityLimiter] = RunVar("jobd.web.attempts")


class Attempts:
    """The counts, in Redis: there may be many processes of the dashboard. When it does not answer
    nobody can log in, and nobody would see anything either.

    Args:
        api: where they are.
        users: whose passwords.
    """

    def __init__(self, api: Session, users: Users) -> None:
        self._api = api
        self._users = users

    async def check(self, request: Request, name: str, password: str) -> User:
        """The user of that name, if that is his password.

        Raises:
            TooMany: too many passwords were wrong lately; this one has not been looked at.
            Unauthorized: it is wrong.
            redis.RedisError: the server does not answer.
        """
        if user := self._users.proven(name, password):
            return user
        try:
            limiter = _limiter.get()
        except LookupError:
            limiter = CapacityLimiter(AT_ONCE)
            _limiter.set(limiter)
        return await to_thread.run_sync(self._check, request, name, password, limiter=limiter)

    def _check(self, request: Request, name: str, password: str) -> User:
        source = network(request.scope)
        if user := self._users.proven(name, password):  # by another request, meanwhile
            return user
        # Counted before the password is looked at, so that many at once are not all let through;
        # and the address first, or one of them could fill Redis with names.
        of_address = self._api.keys.web_attempts(f"address:{source}")
        of_name = self._api.keys.web_attempts(f"name:{_digest(name)}")
        self._count(of_address, MOST_OF_ADDRESS, source)
        self._count(of_name, MOST_OF_NAME, source)
        user = self._users.with_password(name, password)
        if user is None:
            # What is no name may be a password in the wrong field.
            who = name if self._users.knows(name) else "an unknown user"
            _log.warning("wrong password for %s from %s", who, source)
            raise Unauthorized("name or password is wrong")
        with self._api.redis.pipeline(transaction=False) as pipe:
            for key in (of_address, of_name):
                # It may have expired: then this makes it anew, with an end.
                pipe.set(key, 0, ex=WITHIN, nx=True)
                pipe.decr(key)
            pipe.execute()
        _log.info("%s logged in from %s", user.name, source)
        return user

    def _count(self, key: str, most: int, source: str) -> None:
        with self._api.redis.pipeline(transaction=False) as pipe:
            pipe.set(key, 0, ex=WITHIN, nx=True)
            pipe.incr(key)
            pipe.ttl(key)
            answers: list[Any] = pipe.execute()
        _, count, left = answers
        if count > most:
            _log.warning("too many wrong passwords; one from %s was not looked at", source)
            raise TooMany("Too many wrong passwords.", max(1, int(left)))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:16]
