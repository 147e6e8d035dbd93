"""Encoding of commands in the Redis protocol, for pipelines on a dedicated connection."""

from __future__ import annotations

from typing import Any, cast

import hiredis

Argument = str | bytes | int | float


def pack(*command: Argument) -> bytes:
    r"""Encode a command.

    >>> pack("HKEYS", "h")
    b'*2\r\n$5\r\nHKEYS\r\n$1\r\nh\r\n'
    """
    # The stub of pack_command allows tuples of one element only.
    packed: bytes = hiredis.pack_command(cast(Any, command))
    return packed
