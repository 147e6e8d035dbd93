"""The control channel: tells workers at once that there is something for them to look at.

A message carries no state and may be lost: what it is about is in Redis, and workers look there
with every heartbeat as well. Messages are published by scripts, as their last step and under
``pcall``: a Redis user without the channel must not lose what the script is for. Only that somebody
listens to what happens (``jobctl tail``) is nowhere else: the listener repeats it.

Every worker listens on two channels, one of its own and one for all. Pub/sub ignores databases, so
their names have its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from jobd.store.keys import Keys
from jobd.wire.json_value import UNREADABLE

VERSION = 1
LONGEST = 1024
"""Bytes of a message."""

FORCE = b"force"
"""What the request says to cancel a job whose worker is to be replaced if it does not end."""


class Look(StrEnum):
    """What to look at."""

    SIGNALS = "signals"
    CANCELS = "cancels"
    TAIL = "tail"


STORED = (Look.SIGNALS, Look.CANCELS)
"""What is in Redis, so that a worker looks at it also when it may have missed a message."""

TAIL_EVERY, TAIL_LEASE = 2.0, 7.0
"""Seconds after which a listener of the tail repeats that it listens, and for which each time
counts."""


class _Message(msgspec.Struct, frozen=True):
    look: str
    v: Annotated[int, msgspec.Meta(ge=1)]


class _Client(Protocol):
    def get_connection_kwargs(self) -> dict[str, object]: ...


_decoder = msgspec.json.Decoder(_Message)


def message(look: Look) -> bytes:
    """What to publish.

    >>> message(Look.SIGNALS)
    b'{"look":"signals","v":1}'
    """
    return msgspec.json.encode(_Message(str(look), VERSION))


def read(said: object) -> Look | None:
    """What a message asks to look at; None if it is of another version, or not a message.

    >>> read(message(Look.SIGNALS))
    <Look.SIGNALS: 'signals'>
    >>> read(b'{"look":"the weather","v":1}'), read(b'{"look":"signals","v":2}'), read(b"{}")
    (None, None, None)
    """
    if not isinstance(said, bytes) or len(said) > LONGEST:
        return None
    try:
        found = _decoder.decode(said)
        return Look(found.look) if found.v == VERSION else None
    except UNREADABLE:
        return None


def database(client: _Client) -> int:
    """The number of the database that *client* uses."""
    number = client.get_connection_kwargs().get("db")
    return int(number) if isinstance(number, int | str) else 0


def channel(keys: Keys, database: int, identity: str = "") -> str:
    """The channel of one worker, or of all.

    >>> channel(Keys("shop:"), 3), channel(Keys(), 0, "web1:7:c0ffee")
    ('shop:jobd:control:3', 'jobd:control:0:web1:7:c0ffee')
    """
    own = f":{identity}" if identity else ""
    return f"{keys.prefix}jobd:control:{database}{own}"


def tail_channel(keys: Keys, database: int) -> str:
    """The channel on which workers report what happens, while somebody listens.

    >>> tail_channel(Keys("shop:"), 3)
    'shop:jobd:tail:3'
    """
    return f"{keys.prefix}jobd:tail:{database}"


def channels(client: _Client, keys: Keys, identities: Sequence[str]) -> list[str]:
    """The channels of these workers."""
    number = database(client)
    return [channel(keys, number, identity) for identity in identities]


def rule(prefix: str) -> str:
    """What an ACL must allow for the channels of an installation with this prefix.

    >>> rule("shop:")
    '&shop:jobd:*'
    """
    return f"&{prefix}jobd:*"
