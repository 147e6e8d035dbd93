"""Steps of workflows whose jobs are nowhere: one that two searches miss has failed, so that its
workflow does not wait for ever.

The keeper that leads does this. A search goes through all jobs, for many workflows at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

import redis
from structlog.typing import FilteringBoundLogger

from jobd.ambient import clock
from jobd.keeper.batches import BETWEEN, ROUND
from jobd.store.keys import Keys

if TYPE_CHECKING:
    from jobd.api.features.lost_steps import Lost
    from jobd.api.session import Session

PAGE = 100
"""Workflows that are read at once, those that have ended among them."""

PAGES = 100
"""So often in one turn, at most."""

ENOUGH = 10_000
"""Jobs of workflows for one search."""


class StepWatch:
    """The turns of one keeper.

    Args:
        log: takes what was found.
        delivered: the jobs that blocking claims have delivered and that are not in flight yet.
        leads: whether this keeper is to do it.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        log: FilteringBoundLogger,
        delivered: Callable[[], Iterable[bytes]],
        leads: Callable[[], object],
    ) -> None:
        self._client = client
        self._keys = keys
        self._log = log
        self._delivered = delivered
        self._leads = leads
        self._place = 0
        self._next = 0.0
        self._missed: dict[str, Lost] = {}

    def turn(self) -> None:
        """The next search, if it is time for one."""
        if not self._leads():
            self._missed = {}
        elif clock.now() >= self._next:
            missed, self._missed = self._missed, {}
            if missed:
                self._search_again(missed)
            else:
                self._search()

    def _search(self) -> None:
        refs = self._running()
        began = time.monotonic()
        self._missed = self._missing(refs) if refs else {}
        # In proportion to what it costs; and from the beginning only once in a round.
        rest = 10 * (time.monotonic() - began)
        pause = BETWEEN if self._missed else 0.0 if self._place else ROUND
        self._next = clock.now() + max(rest, pause)

    def _search_again(self, missed: dict[str, Lost]) -> None:
        from jobd.api.features.lost_steps import fail

        for ref, lost in self._missing(list(missed)).items():
            both = missed[ref]._replace(numbers=missed[ref].numbers & lost.numbers)
            if both.numbers and (failed := fail(self._session(), ref, both)):
                self._log.warning("workflow_steps_missing", workflow=ref, jobs=failed)

    def _running(self) -> list[str]:
        """The next workflows of which jobs are somewhere; not those of the last minute."""
        found: list[str] = []
        jobs = 0
        for _ in range(PAGES):
            refs = self._page()
            with self._client.pipeline(transaction=False) as pipe:
                for ref in refs:
                    pipe.hmget(self._keys.workflow(ref), ["state", "live"])
                states: list[Any] = pipe.execute() if refs else []
            for ref, (state, live) in zip(refs, states, strict=True):
                if state == b"running" and live is not None and live.isdigit():
                    found.append(ref)
                    jobs += int(live)
            if not self._place or jobs >= ENOUGH:
                break
        return found

    def _page(self) -> list[str]:
        old = clock.now() - ROUND
        found = self._client.zrange(
            self._keys.workflows, "-inf", repr(old), byscore=True, offset=self._place, num=PAGE
        )
        self._place = self._place + PAGE if len(cast("list[bytes]", found)) == PAGE else 0
        return [ref.decode(errors="replace") for ref in cast("list[bytes]", found)]

    def _missing(self, refs: list[str]) -> dict[str, Lost]:
        # Loaded where it is needed first: most keepers never look for a job.
        from jobd.api.features.lost_steps import missing

        return missing(self._session(), refs, self._delivered())

    def _session(self) -> Session:
        from jobd.api.session import Session

        return Session(self._client, self._keys.prefix)
