"""Finding a job by its id, wherever it is: running, in a set, in a queue, or waiting for a lock.

Only the sets have an index of any kind, and that by time, so this goes through everything, in
bounded steps: what waits for a lock first, then what runs, then the sets, then the queues.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from jobd.api.features.held_back import LOCK, HeldBack
from jobd.api.inflight import InFlightSet
from jobd.api.queues.private import private
from jobd.api.queues.scan import QueueScan
from jobd.api.reading import STEP, STEP_BYTES, text
from jobd.api.records import JobRecord, is_plain
from jobd.api.search.scans import Scan, position
from jobd.api.session import Session
from jobd.api.sets.entries import SortedEntry
from jobd.api.sets.sets import DeadSet, RetrySet, ScheduledSet
from jobd.api.work import WorkSet
from jobd.errors import ArgumentError
from jobd.store import scripts

_SETS = {"retry": RetrySet, "schedule": ScheduledSet, "dead": DeadSet}
WORK = "work"
"""Where a job is that runs."""


@dataclass(frozen=True, slots=True)
class Found:
    """A job that was looked for.

    Attributes:
        place: ``work``, ``lock`` (it waits for one), the name of a set (``retry``, ``schedule``,
            ``dead``) or ``queue:NAME``.
    """

    place: str
    job: JobRecord

    @property
    def key(self) -> str:
        """What stands for it there: the key of an entry, else the id."""
        return self.job.key if isinstance(self.job, SortedEntry) else self.job.jid


class JobSearch(Scan[Found]):
    """The search for one id. A job that moves meanwhile may be missed.

    Example:
        >>> search = api.find("1befef82961e0772dce5ae4d")  # doctest: +SKIP
        >>> [found.place for found in search.first(1)]  # doctest: +SKIP
        ['retry']
    """

    def __init__(self, session: Session, jid: str, cursor: str = "") -> None:
        super().__init__()
        if not jid:
            raise ArgumentError("a job is found by its id; give one")
        self._api = session
        self._jid = jid
        # From a lock a job goes to a queue, and to none from anywhere.
        self._places = [LOCK, WORK, *_SETS]
        # Where the queues begin that are in self._places, and those after them, for SSCAN: there
        # may be a hundred thousand. None before the first and after the last of them.
        self._here: str | None = None
        self._after: str | None = "0"
        numbers, _, place = cursor.partition("@")
        self._inner, _, here = numbers.partition(".")
        if place in self._places:
            self._places = self._places[self._places.index(place) :]
        elif place:
            self._places = []
            self._list_queues(str(position(here)), place)
        self._scan: Scan[JobRecord] | None = None
        self.done = not self._places

    @property
    def cursor(self) -> str:
        if self.done:
            return ""
        inner = self._inner if self._scan is None else self._scan.cursor
        here = "" if self._here is None else f".{self._here}"
        return f"{inner}{here}@{self._places[0]}"

    @property
    def place(self) -> str:
        """Where it looks next; empty when it is done."""
        return "" if self.done else self._places[0]

    def next(self) -> list[Found]:
        if self.done:
            return []
        place = self._places[0]
        if place == WORK:
            found = self._running()
        else:
            scan = self._scan = self._scan or self._begin(place)
            before = scan.scanned
            found = [Found(place, job) for job in scan.next() if place != LOCK or self._wanted(job)]
            self.scanned += scan.scanned - before
            if not scan.done:
                return found
        self._places.pop(0)
        self._scan, self._inner = None, ""
        if not self._places and self._after is not None:
            self._list_queues(self._after)
        self.done = not self._places
        return found

    def _list_queues(self, here: str, since: str = "") -> None:
        """Go on with the queues that SSCAN lists at *here*.

        Args:
            since: of a search that goes on; those before are done. One that has gone meanwhile: on
                with the one after it.
        """
        key, after = self._api.keys.queues, here
        while not self._places and self._after is not None:
            here = after
            cursor, _, *names = scripts.SCAN(
                self._api.redis, [key], ["SSCAN", here, STEP, STEP_BYTES, "", ""]
            )
            after = text(cursor)
            self._here, self._after = here, None if after == "0" else after
            places = sorted(f"queue:{text(name)}" for name in names)
            self._places = [place for place in places if place >= since]
            since = ""

    def _running(self) -> list[Found]:
        work = WorkSet(self._api).find_work(self._jid)
        if work is not None:
            return [Found(WORK, work.job)]
        claim = InFlightSet(self._api).find_job(self._jid)
        if claim is not None:
            return [Found(WORK, claim.job)]
        taken = (job for job in private(self._api, self._jid) if self._wanted(job))
        return [Found(WORK, job) for job in islice(taken, 1)]

    def _wanted(self, job: JobRecord) -> bool:
        return job.jid == self._jid

    def _begin(self, place: str) -> Scan[JobRecord]:
        jid = self._jid
        if place == LOCK:
            return HeldBack(self._api, self._inner)
        if place in _SETS:
            jobs = _SETS[place](self._api)
            match = jid if is_plain(jid) else None  # JSON may write other ids in other ways
            return jobs.scan(match, self._wanted, cursor=self._inner)
        queue = place.partition(":")[2]
        return QueueScan(queue, self._api, [], self._wanted, self._inner, jid=jid)
