"""The place of a run in the user's Redis: a prefix of its own, refused where it could hurt others,
and cleaned up afterwards."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import cast

from jobctl.codes import Code, Problem
from jobd.api.diagnosis import findings, server
from jobd.api.diagnosis.findings import Severity
from jobd.api.entry import Api
from jobd.errors import UnavailableError
from jobd.store.server import identify

ROOM = 64 * 1024 * 1024
"""Bytes that must be free below ``maxmemory``; a run needs a few."""

CLIENTS = 300
"""Connections that must be free; a run opens up to 150."""

STEP = 500
"""Keys of a step when it is cleaned up."""

ALIVE = 60
"""Seconds for which a run counts as alive after it has said so."""

_NAME = "jobd-chaos-"
_MARK = re.compile(rb"jobd-chaos-[0-9a-f]{16}:")
_MUST = ("redis.full", "redis.nearly-full", "redis.snapshot", "redis.append-only", "redis.replica")
"""Findings with which nothing is tried."""


def new_prefix(before: str) -> str:
    """A prefix that nobody else has, below that of the user.

    >>> len(new_prefix("shop:")), new_prefix("shop:")[:16]
    (33, 'shop:jobd-chaos-')
    """
    return f"{before}{_NAME}{secrets.token_hex(8)}:"


def require_fit(api: Api) -> None:
    """Refuse a server where the run could hurt others, or could not be cleaned up.

    Raises:
        Problem: says why.
        UnavailableError: the server does not answer, or refuses what this looks at.
    """
    identify(api.redis).require()
    facts = server.gather(api.redis)
    for each in findings.run(server.CHECKS, facts):
        if each.name in _MUST and each.severity is not Severity.NOTE:
            raise _refused(str(each.text))
    most, used = facts.integer("maxmemory"), facts.integer("used_memory")
    if most and most - used < ROOM:
        raise _refused(
            f"Redis has only {(most - used) >> 20} MB left below its memory limit; "
            f"{ROOM >> 20} MB are wanted, so that no other program runs out of it"
        )
    here, clients = facts.integer("connected_clients"), facts.integer("maxclients")
    if clients and clients - here < CLIENTS:
        raise _refused(
            f"only {clients - here} of {clients} connections are free; {CLIENTS} are wanted, so "
            "that nobody else is refused"
        )
    api.redis.scan(0, count=1)  # without it nothing could be cleaned up


def _refused(text: str) -> Problem:
    return Problem(Code.REFUSED, f"{text.rstrip('.')}. Nothing was done")


def keep_alive(api: Api) -> None:
    """Say that the run of this prefix goes on."""
    api.redis.set(f"{api.keys.prefix}alive", "1", ex=ALIVE)


def clean(api: Api) -> int:
    """Remove all keys of a run; returns how many there were."""
    prefix = api.keys.prefix
    if not _MARK.search(prefix.encode()):
        raise ValueError(f"{prefix!r} is not the prefix of a run")
    removed = 0
    for keys in _found(api, prefix):
        # MATCH takes patterns; what decides is the beginning.
        own = [key for key in keys if key.startswith(prefix.encode())]
        if own:
            removed += api.redis.unlink(*own)
    return removed


def left_behind(api: Api) -> list[str]:
    """Prefixes, below that of *api*, of runs that were killed and could not clean up."""
    before = api.keys.prefix
    found = set[str]()
    for keys in _found(api, f"{before}{_NAME}"):
        for key in keys:
            own = key.removeprefix(before.encode())
            if key.startswith(before.encode()) and (mark := _MARK.match(own)):
                found.add(before + mark[0].decode())
    return [prefix for prefix in sorted(found) if not api.redis.exists(f"{prefix}alive")]


def _found(api: Api, beginning: str) -> Iterator[list[bytes]]:
    plain = "".join(f"\\{each}" if each in "*?[]\\" else each for each in beginning)
    cursor = 0
    while True:
        cursor, keys = api.redis.scan(cursor, match=f"{plain}*", count=STEP)
        if keys:
            yield cast("list[bytes]", keys)
        if cursor == 0:
            return


def reachable(api: Api) -> bool:
    """Whether the server answers now."""
    try:
        api.redis.ping()
    except UnavailableError:
        return False
    return True
