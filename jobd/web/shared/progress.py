"""How far running jobs have come, those that can tell: the iterable jobs of Sidekiq.

Nothing says which jobs can, so each has to be asked about, and a page shows a hundred. Together all
pages ask so often and no more; what is known to be iterable comes first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from jobd.api import IterableState, Session, iterable_states

EVERY = 5.0
"""Seconds after which a job is asked about again."""

PACE = 8
"""Jobs that are asked about in a second, in the long run: each costs a command."""

AT_ONCE = 100
"""Jobs that may be asked about at once, where nobody has asked for a while."""

_MOST = 5_000


class Progress:
    """What one process of the dashboard knows of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By id, those that were asked about last at the end.
        self._asked: dict[str, float] = {}
        self._states: dict[str, IterableState] = {}
        self._left: float = AT_ONCE
        self._at = time.monotonic()

    def look(
        self, session: Session, jids: Iterable[str], now: float | None = None
    ) -> Mapping[str, IterableState]:
        """The states of those of these jobs that are known to be iterable, by their ids.

        Args:
            now: of a clock that never goes back.

        Raises:
            UnavailableError: the server does not answer.
        """
        now = time.monotonic() if now is None else now
        with self._lock:
            self._left = min(AT_ONCE, self._left + PACE * (now - self._at))
            self._at = now
            wanted = list(dict.fromkeys(jids))
            never = now - 2 * EVERY
            due = [jid for jid in wanted if now - self._asked.get(jid, never) >= EVERY]
            due.sort(key=lambda jid: (jid not in self._states, self._asked.get(jid, never)))
            self._ask(session, due[: int(self._left)], now)
            return {jid: self._states[jid] for jid in wanted if jid in self._states}

    def _ask(self, session: Session, jids: list[str], now: float) -> None:
        if not jids:
            return
        found = iterable_states(session, jids)
        self._left -= len(jids)
        for jid in jids:
            self._asked.pop(jid, None)
            self._asked[jid] = now
            self._states.pop(jid, None)
        self._states |= found
        while len(self._asked) > _MOST:
            oldest = next(iter(self._asked))
            del self._asked[oldest]
            self._states.pop(oldest, None)
