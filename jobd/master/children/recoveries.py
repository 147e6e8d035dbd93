"""Dead workers whose jobs the keeper still has to return.

An entry is added when a worker is certainly dead (reaped) and removed when the keeper reports that
it is done; if the keeper dies in between, its successor is told again, also in the next run. Only
the stacks are not passed to the next run: they are kept in memory, to keep the state file small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from jobd.master.files.statefile import Unrecovered
from jobd.runtime.ipc.messages import Recover

WITH_STACKS = 50
"""Most deaths whose stacks are kept, so that all of them fit into a keeper's channel at once."""

_NONE: Mapping[int, str] = MappingProxyType({})


class Recoveries:
    """
    >>> owed = Recoveries()
    >>> message = owed.add(Unrecovered("host:1:abc", (4,), "killed by signal 9 (SIGKILL)"))
    >>> message.running, message.stacks
    ([4], [])
    >>> owed.done("host:1:abc")
    >>> bool(owed)
    False
    """

    def __init__(self, entries: Iterable[Unrecovered] = ()) -> None:
        self._pending = {entry.identity: entry for entry in entries}
        self._stacks: dict[str, Mapping[int, str]] = {}

    def add(self, entry: Unrecovered, stacks: Mapping[int, str] = _NONE) -> Recover:
        """Record a death; returns the message for the keeper.

        Args:
            stacks: the last known stacks of its jobs, by sequence number.
        """
        self._pending[entry.identity] = entry
        if stacks and len(self._stacks) < WITH_STACKS:
            self._stacks[entry.identity] = stacks
        return self._message(entry)

    def done(self, identity: str) -> None:
        self._pending.pop(identity, None)
        self._stacks.pop(identity, None)

    def __bool__(self) -> bool:
        return bool(self._pending)

    def __len__(self) -> int:
        return len(self._pending)

    def entries(self) -> tuple[Unrecovered, ...]:
        return tuple(self._pending.values())

    def messages(self) -> list[Recover]:
        return [self._message(entry) for entry in self._pending.values()]

    def _message(self, entry: Unrecovered) -> Recover:
        return Recover(
            identity=entry.identity,
            running=list(entry.running),
            cause=entry.cause,
            stacks=list(self._stacks.get(entry.identity, _NONE).items()),
        )
