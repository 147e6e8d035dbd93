"""Jobs that are nowhere although a batch or a workflow waits for them: those that two searches
miss are given up, so that nothing waits for ever.

The keeper that leads does this. A search goes through all jobs, for many batches or workflows at
once. Those that are in the dead set end, as they have failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import redis
from structlog.typing import FilteringBoundLogger

from jobd.ambient import clock
from jobd.store.keys import Keys

if TYPE_CHECKING:
    from jobd.api.features.lost import Lost, LostJobs
    from jobd.api.session import Session

ROUND = 60.0
"""Seconds between the first searches of two rounds; younger ones are not looked at."""

BETWEEN = 15.0
"""Seconds between two searches: a job that has just started in Ruby is seen ten later."""

PAGE = 100
"""Batches or workflows that are read at once, those that have ended among them."""

PAGES = 100
"""So often in one turn, at most."""

ENOUGH = 10_000
"""Jobs for one search."""

Fields = Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """What waits for jobs.

    Attributes:
        name, event, died: in the log.
        index: its key, by the times of their creation.
        key: of the record of one.
        fields: of the record, for *waits*: for how many jobs one waits.
        search: made where it is needed first: most keepers never look for a job.
    """

    name: str
    event: str
    died: str
    index: str
    key: Callable[[str], str]
    fields: list[str]
    waits: Callable[[Fields], int]
    search: Callable[[Session], LostJobs]


def batches(keys: Keys) -> Kind:
    def search(session: Session) -> LostJobs:
        from jobd.api.features.lost import LostMembers

        return LostMembers(session)

    def waits(fields: Fields) -> int:
        pending, blocks, ended = fields
        return 0 if ended is not None or _count(blocks) else _count(pending)

    read = ["pending", "open", "ended_at"]
    events = ("batch_members_missing", "batch_members_dead")
    return Kind("batch", *events, keys.batches, keys.batch, read, waits, search)


def workflows(keys: Keys) -> Kind:
    def search(session: Session) -> LostJobs:
        from jobd.api.features.lost import LostSteps

        return LostSteps(session)

    def waits(fields: Fields) -> int:
        state, live = fields
        return _count(live) if state == b"running" else 0

    read, index = ["state", "live"], keys.workflows
    events = ("workflow_steps_missing", "workflow_steps_dead")
    return Kind("workflow", *events, index, keys.workflow, read, waits, search)


class LostWatch:
    """The turns of one keeper for one kind.

    Args:
        log: takes what was found.
        delivered: the jobs that blocking claims have delivered and that are not in flight yet.
        leads: whether this keeper is to do it.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        kind: Kind,
        log: FilteringBoundLogger,
        delivered: Callable[[], Iterable[bytes]],
        leads: Callable[[], object],
    ) -> None:
        self._client = client
        self._keys = keys
        self._kind = kind
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
        elif clock.monotonic() >= self._next:
            missed, self._missed = self._missed, {}
            began = time.monotonic()
            if missed:
                self._search_again(missed)
            elif refs := self._waiting():
                search = self._search()
                self._missed = search.missing(refs, self._delivered())
                if dead := search.end_dead():
                    event = self._kind.died
                    self._log.warning(event, jobs=dead)
            # In proportion to what it costs; and from the beginning only once in a round.
            rest = 10 * (time.monotonic() - began)
            pause = BETWEEN if self._missed else 0.0 if self._place else ROUND
            self._next = clock.monotonic() + max(rest, pause)

    def _search_again(self, missed: dict[str, Lost]) -> None:
        search, name, event = self._search(), self._kind.name, self._kind.event
        for ref, lost in search.missing(list(missed), self._delivered()).items():
            both = missed[ref]._replace(numbers=missed[ref].numbers & lost.numbers)
            if both.numbers and (given_up := search.give_up(ref, both)) > 0:
                self._log.warning(event, **{name: ref}, jobs=given_up)

    def _waiting(self) -> list[str]:
        """The next ones that wait for jobs; not those of the last minute."""
        kind, found, jobs = self._kind, list[str](), 0
        for _ in range(PAGES):
            refs = self._page()
            with self._client.pipeline(transaction=False) as pipe:
                for ref in refs:
                    pipe.hmget(kind.key(ref), kind.fields)
                # A key of another type is no reason to look at no others.
                records = pipe.execute(raise_on_error=False) if refs else []
            for ref, fields in zip(refs, records, strict=True):
                if isinstance(fields, list) and (count := kind.waits(fields)):
                    found.append(ref)
                    jobs += count
            if not self._place or jobs >= ENOUGH:
                break
        return found

    def _page(self) -> list[str]:
        old = clock.now() - ROUND
        found = self._client.zrange(
            self._kind.index, "-inf", repr(old), byscore=True, offset=self._place, num=PAGE
        )
        refs = [ref.decode(errors="replace") for ref in cast("list[bytes]", found)]
        self._place = self._place + PAGE if len(refs) == PAGE else 0
        return refs

    def _search(self) -> LostJobs:
        from jobd.api.session import Session

        return self._kind.search(Session(self._client, self._keys.prefix))


def _count(value: bytes | None) -> int:
    """Of a field that somebody may have changed by hand."""
    return int(value) if value is not None and value.isdigit() and len(value) < 20 else 0
