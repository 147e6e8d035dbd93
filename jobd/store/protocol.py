"""Encoding of commands in the Redis protocol, for pipelines on a dedicated connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hiredis

if TYPE_CHECKING:
    import redis

Argument = str | bytes | int | float
Reply = Any
"""Its type is that of the command."""


# The stub of pack_command allows tuples of one element only.
pack_words: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command


def pack(*command: Argument) -> bytes:
    r"""Encode a command.

    >>> pack("HKEYS", "h")
    b'*2\r\n$5\r\nHKEYS\r\n$1\r\nh\r\n'
    """
    return pack_words(command)


def ask(client: redis.Redis, *command: Argument) -> Reply:
    """Send a command, or add it to a pipeline, for which the client library has no typed method."""
    execute: Any = client.execute_command
    return execute(*command)
