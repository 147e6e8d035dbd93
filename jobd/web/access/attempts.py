"""Wrong passwords are counted, and too many of them make everybody wait."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from typing import NoReturn

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from jobd.api import Session
from jobd.api.reading import integer
from jobd.store import scripts
from jobd.text.translatable import Text
from jobd.web.access.password_cache import Proven
from jobd.web.access.users import User, Users
from jobd.web.http_errors import TooMany, Unauthorized
from jobd.web.mount import network

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
        self._proven = Proven()
        self._lock = threading.Lock()
        # How many from each network are being looked at, or wait for that.
        self._waiting: Counter[str] = Counter()

    async def check(self, request: Request, name: str, password: str) -> User:
        """The user of that name, if that is his password.

        Raises:
            TooMany: too many passwords were wrong lately; this one has not been looked at.
            Unauthorized: it is wrong.
            UnavailableError: the server does not answer.
        """
        source = network(request.scope)
        # Whoever has to wait learns nothing, not even whether a password was right a moment ago.
        count = await run_in_threadpool(self._look, source)
        user = self._proven.get(source, name, password)
        with self._lock:
            # Those that are not counted yet may be wrong: else a thousand guesses at once would be
            # compared with what is remembered.
            if user is not None and count + self._waiting[source] < MOST_OF_ADDRESS:
                return user
            self._waiting[source] += 1
        try:
            return await to_thread.run_sync(
                self._check, source, name, password, limiter=self._find_limiter()
            )
        finally:
            with self._lock:
                self._waiting[source] -= 1
                if not self._waiting[source]:
                    del self._waiting[source]

    def _find_limiter(self) -> CapacityLimiter:
        try:
            return _limiter.get()
        except LookupError:
            limiter = CapacityLimiter(AT_ONCE)
            _limiter.set(limiter)
            return limiter

    def _check(self, source: str, name: str, password: str) -> User:
        # Counted before the password is looked at, so that many at once are not all let through;
        # and the address first, or one of them could fill Redis with names.
        of_address = self._of_address(source)
        of_name = self._api.keys.web_attempts(f"name:{_digest(name)}")
        self._count(of_address, MOST_OF_ADDRESS, source)
        self._count(of_name, MOST_OF_NAME, source)
        user = self._proven.get(source, name, password)  # by another request, meanwhile
        user = user or self._users.with_password(name, password)
        if user is None:
            # What is no name may be a password in the wrong field.
            who = name if self._users.knows(name) else "an unknown user"
            _log.warning("wrong password for %s from %s", who, source)
            raise Unauthorized(Text("name or password is wrong"))
        for key in (of_address, of_name):
            scripts.ATTEMPT(self._api.redis, [key], [-1, WITHIN])
        self._proven.add(source, name, password, user)
        _log.info("%s logged in from %s", user.name, source)
        return user

    def _look(self, source: str) -> int:
        """How many passwords from there count; one round trip.

        Raises:
            TooMany: too many.
        """
        key = self._of_address(source)
        with self._api.redis.pipeline(transaction=False) as pipe:
            pipe.get(key)
            pipe.ttl(key)
            tried, rest = pipe.execute()
        # What is no number keeps people out, as every doubt about the count does.
        count, left = integer(tried or 0, MOST_OF_ADDRESS), int(rest)
        if count >= MOST_OF_ADDRESS:
            self._refuse(source, left)
        return count

    def _count(self, key: str, most: int, source: str) -> None:
        count, left = scripts.ATTEMPT(self._api.redis, [key], [1, WITHIN])
        if count > most:
            self._refuse(source, int(left))

    def _refuse(self, source: str, left: int) -> NoReturn:
        _log.warning("too many wrong passwords; one from %s was not looked at", source)
        raise TooMany(Text("Too many wrong passwords."), max(1, left))

    def _of_address(self, source: str) -> str:
        return self._api.keys.web_attempts(f"address:{source}")


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:16]
