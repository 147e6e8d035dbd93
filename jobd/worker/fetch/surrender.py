"""The surrender: the return of every unfinished job to the head of its queue at the stop deadline.

The main thread asks for it and waits; the fetcher carries it out in its turns. It is repeated until
Redis has confirmed it, since what was claimed just before arrives later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from jobd.worker.fetch.ledger import Ledger


class Surrender:
    """The surrender of one worker.

    Attributes:
        asked: set by the main thread; from then on every turn returns what is not finished.
    """

    def __init__(self) -> None:
        self.asked = False
        self._begun = False
        self._confirmed = threading.Event()

    def wait(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds for the confirmation; returns whether it has come."""
        return self._confirmed.wait(timeout)

    def carry_out(self, ledger: Ledger, collect: Callable[[], None]) -> None:
        """Return the jobs of *ledger* that still run, if that was asked for.

        Args:
            collect: enters the ends that jobs have reported: what was settled before must not be
                given back.
        """
        if self.asked and not self._confirmed.is_set():
            self._begun = True
            collect()
            ledger.give_back_running()

    def look(self, ledger: Ledger) -> None:
        """Look, after a turn, whether everything is confirmed."""
        # Not `asked`: that may have been set during this turn.
        if self._begun and not ledger.returning:
            self._confirmed.set()
