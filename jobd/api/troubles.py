"""What is wrong with daemons: a crash loop, a reload that failed, log records that are lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import msgspec

from jobd.api.reading import text
from jobd.api.session import Session
from jobd.text.printable import cut
from jobd.wire.json_value import UNREADABLE

TTL = 60
"""Seconds for which an entry counts that is not written again."""

MOST = 100
"""Daemons that are told of."""

_LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """Of one daemon.

    Attributes:
        daemon: host and process id of its master, as HOST:PID.
        tag: its setting ``tag``.
        since: seconds since 1970.
        text: what is wrong, in words.
    """

    daemon: str
    tag: str
    since: float
    text: str


class _Entry(msgspec.Struct):
    at: float
    tag: str
    since: float
    text: str


def troubles(session: Session) -> list[Trouble]:
    """See :meth:`jobd.api.Api.troubles`."""
    return [
        Trouble(daemon, cut(entry.tag, 100), entry.since, cut(entry.text, _LONGEST))
        for daemon, entry in _told(session, session.keys.troubles)
    ]


def keepers(session: Session) -> dict[str, str]:
    """The daemons whose keepers have been heard of in the last minute, as HOST:PID of their
    masters, and the versions of jobd that they run. Two commands."""
    return {daemon: cut(entry.text, 100) for daemon, entry in _told(session, session.keys.keepers)}


def _told(session: Session, key: str) -> list[tuple[str, _Entry]]:
    """What keepers have written of their daemons lately."""
    _, written = session.redis.hscan(key, count=MOST)
    seconds, _ = session.redis.time()
    told = []
    for daemon, raw in sorted(cast("dict[bytes, bytes]", written).items())[:MOST]:
        try:
            entry = msgspec.json.decode(raw, type=_Entry)
        except UNREADABLE:
            continue  # nobody of ours has written it
        if entry.at >= seconds - TTL:
            told.append((text(daemon), entry))
    return told
