"""The streams of the open pages: how many there are, and how all of them end at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from anyio import Event

MOST = 500
"""Streams of one process; further pages poll."""


class Streams:
    """Those of one dashboard."""

    def __init__(self) -> None:
        # Each has an event of its own: they may be in different event loops.
        self._open: set[Event] = set()
        self.closing = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether there should be no more."""
        return self.closing or len(self._open) >= MOST

    @contextmanager
    def one(self) -> Iterator[Event]:
        """A stream, as long as it is open; the event is set when it should end."""
        end = Event()
        self._open.add(end)
        try:
            yield end
        finally:
            self._open.discard(end)

    def close(self) -> None:
        """Let all end; from the thread of their event loop."""
        self.closing = True
        for end in set(self._open):
            end.set()
