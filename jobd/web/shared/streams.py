"""The streams of the open pages: how many there are, and how all of them end at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from anyio import Event

MOST = 500
OF_ADDRESS = 100
"""Streams of one process, and of one address; further pages poll."""


class Streams:
    """Those of one dashboard."""

    def __init__(self) -> None:
        # Each has an event of its own: they may be in different event loops.
        self._open: dict[Event, str] = {}
        self.closing = False

    def __len__(self) -> int:
        return len(self._open)

    def full(self, source: str) -> bool:
        """Whether there should be no more, or none from there."""
        sources = list(self._open.values())
        return self.closing or len(sources) >= MOST or sources.count(source) >= OF_ADDRESS

    @contextmanager
    def one(self, source: str) -> Iterator[Event]:
        """A stream to there, as long as it is open; the event is set when it should end."""
        end = Event()
        self._open[end] = source
        try:
            yield end
        finally:
            del self._open[end]

    def close(self) -> None:
        """Let all end; from the thread of their event loop."""
        self.closing = True
        for end in set(self._open):
            end.set()
