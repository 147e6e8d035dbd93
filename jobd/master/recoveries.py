"""Dead workers whose jobs the keeper still has to put back.

An entry goes in when a worker is certainly dead (reaped) and comes out when the keeper says that it
is done, so that a keeper that dies in between is told again, and so is the next run's.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobd.master.channel import Message
from jobd.master.state import Unrecovered


class Recoveries:
    """
    >>> owed = Recoveries()
    >>> owed.add(Unrecovered("host:1:abc", (4,), "killed by signal 9 (SIGKILL)"))
    >>> owed.done("host:1:abc")
    >>> bool(owed)
    False
    """

    def __init__(self, entries: Iterable[Unrecovered] = ()) -> None:
        self._pending = {entry.identity: entry for entry in entries}

    def add(self, entry: Unrecovered) -> None:
        self._pending[entry.identity] = entry

    def done(self, identity: str) -> None:
        self._pending.pop(identity, None)

    def __bool__(self) -> bool:
        return bool(self._pending)

    def __len__(self) -> int:
        return len(self._pending)

    def entries(self) -> tuple[Unrecovered, ...]:
        return tuple(self._pending.values())

    def messages(self) -> list[Message]:
        return [message(entry) for entry in self._pending.values()]


def message(entry: Unrecovered) -> Message:
    """What the keeper is told about *entry*."""
    return {
        "type": "recover",
        "identity": entry.identity,
        "running": list(entry.running),
        "cause": entry.cause,
    }
