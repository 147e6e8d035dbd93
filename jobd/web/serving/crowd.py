"""The connection limit of ``jobd web``, and the answer above it.

Each takes a descriptor, and a process has only so many: without any left it could neither accept
the next one nor open a file or a connection to Redis for those who are there.
"""

from __future__ import annotations

import logging
import resource
import time
from collections import Counter
from collections.abc import Iterable

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

MOST = 1_000
"""Connections, where the system allows that many open files."""

SHARE = 4
"""The part of them, one in so many, that one address may have, unless it is that of a proxy that is
believed: what comes through that is counted by :mod:`jobd.web.access.turns`."""

SPARE = 32
"""Connections beyond, which are there to be told so; of few a quarter. What comes on top of these
is closed."""

ACCEPTED_AT_ONCE = 16
"""Connections that are accepted before anybody counts them."""

AGAIN = 5
"""Seconds after which whoever was refused may come back."""

_OWN = 256
"""Descriptors that are kept for those of :data:`SPARE`, for those that are being accepted, and for
Redis and files. Of few it is half of them."""

_USUAL = 1_024

_SAID_EVERY = 60.0

_log = logging.getLogger("jobd.web")


def beyond(open_now: int, from_address: int | None) -> int:
    """By how many connections the limit is exceeded, that of all or that of one address; zero or
    less if it is not. Counts the new one.

    Args:
        open_now: how many there are.
        from_address: how many of them are from where the new one comes from; None for no limit.
    """
    most = most_connections()
    alone = 0 if from_address is None else from_address - share(most)
    return max(open_now - most, alone)


def share(most: int) -> int:
    """How many of so many connections one address may have."""
    return max(1, most // SHARE)


def most_connections() -> int:
    """How many there may be now, as the limit of open files is."""
    try:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:  # kept from us by a filter of system calls
        limit = _USUAL
    if limit == resource.RLIM_INFINITY:
        return MOST
    return max(1, min(MOST, limit - min(_OWN, limit // 2)))


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """The application that a connection beyond gets instead of the dashboard."""
    text = (
        "Not now: the dashboard has as many connections as it may have, in all or from your "
        "address. Try again in some seconds; its log says more.\n"
    )
    headers = {"Retry-After": str(AGAIN), "Connection": "close", "Cache-Control": "no-store"}
    await PlainTextResponse(text, 503, headers)(scope, receive, send)


class Report:
    """Says in the log that there are too many, once in a minute."""

    def __init__(self) -> None:
        self._said = float("-inf")

    def say(self, addresses: Iterable[str]) -> None:
        """There are.

        Args:
            addresses: from where those come that are open.
        """
        now = time.monotonic()
        if now - self._said < _SAID_EVERY:
            return
        self._said = now
        found = Counter(addresses)
        ((address, count),) = found.most_common(1)
        most = most_connections()
        _log.warning(
            "%d connections are open, %d of them from %s; there may be %d (at most %d, and fewer "
            "where LimitNOFILE or ulimit -n is below %d), and %d from one address unless it is a "
            "proxy that [web] proxies names, so new ones are answered with 503",
            *(found.total(), count, address or "a socket", most, MOST, MOST + _OWN, share(most)),
        )
