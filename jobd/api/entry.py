"""The way in: one object from which everything in Redis can be looked at and acted on."""

from __future__ import annotations

import datetime

from jobd.api import info as server
from jobd.api import stats, troubles
from jobd.api.audit import Audit
from jobd.api.deploys import Deploys
from jobd.api.features import results
from jobd.api.features.batches import Batches
from jobd.api.features.lineage import FamilySearch
from jobd.api.features.periodic import PeriodicJobs
from jobd.api.features.results import JobResult
from jobd.api.features.workflows import Workflows
from jobd.api.find import JobSearch
from jobd.api.inflight import InFlightSet
from jobd.api.info import RedisInfo
from jobd.api.metrics import Metrics
from jobd.api.processes import ProcessSet
from jobd.api.queues import queues
from jobd.api.queues.queues import Queue, QueueSummary
from jobd.api.session import Session
from jobd.api.sets.sets import DeadSet, RetrySet, ScheduledSet
from jobd.api.stats import Counter, Counters, Day, Stats
from jobd.api.trash import Trash
from jobd.api.troubles import Trouble
from jobd.api.work import WorkSet
from jobd.wire.progress import Progress


class Api(Session):
    """The data API on one connection; see :class:`Session` for the arguments.

    Example:
        >>> api = Api("redis://127.0.0.1:6379/0")
        >>> api.stats().enqueued  # doctest: +SKIP
        17
        >>> api.retries.page().size  # doctest: +SKIP
        3
    """

    # -- counters --------------------------------------------------------------------------------

    def counters(self) -> Counters:
        """Totals and sizes of the sets. Cost: two round trips of seven commands, each O(1).

        Raises:
            UnavailableError: the server does not answer, as for everything here.
        """
        return stats.counters(self)

    def stats(self, most: int | None = None) -> Stats:
        """All counters. Cost: O(queues + processes), in steps of 1,000.

        Args:
            most: queues and processes that are looked at, any of them where there are more.
        """
        return stats.stats(self, most)

    def reset_stats(self, *names: Counter) -> None:
        """Set totals to zero, those of the days excepted; one script.

        Args:
            names: ``processed``, ``failed``; both when none is given.

        Raises:
            ArgumentError: there is no such total.
        """
        stats.reset(self, names)

    def history(self, days: int = 30, last: datetime.date | None = None) -> list[Day]:
        """Counts by UTC day, newest first. Cost: one round trip, O(*days*).

        Args:
            days: how many, from 1 to 1825.
            last: the last one; today by default.

        Raises:
            ArgumentError: *days* is out of bounds.
        """
        return stats.history(self, days, last)

    # -- queues ----------------------------------------------------------------------------------

    def queue(self, name: str) -> Queue:
        """The queue of that name; nothing is sent."""
        return Queue(name, self)

    def queues(self, most: int | None = None) -> list[QueueSummary]:
        """All known queues by name, with size, latency and pause; also those that are paused and
        have never had a job. Cost: O(queues), a script for each 250 or megabyte of oldest jobs.

        Args:
            most: of more queues than so many, any so many of them.
        """
        return queues.summaries(self, most)

    # -- sets ------------------------------------------------------------------------------------

    @property
    def scheduled(self) -> ScheduledSet:
        """Jobs that wait for their time."""
        return ScheduledSet(self)

    @property
    def retries(self) -> RetrySet:
        """Jobs that have failed and will be tried again."""
        return RetrySet(self)

    @property
    def dead(self) -> DeadSet:
        """Jobs that will not be tried again."""
        return DeadSet(self)

    # -- processes -------------------------------------------------------------------------------

    @property
    def processes(self) -> ProcessSet:
        """The worker processes."""
        return ProcessSet(self)

    @property
    def work(self) -> WorkSet:
        """The jobs that run now."""
        return WorkSet(self)

    def progress(self, jid: str) -> Progress | None:
        """How far the running job of that id says that it has come; None if it does not run, or has
        not said anything. Cost: O(running jobs)."""
        work = self.work.find_work(jid)
        return None if work is None else work.progress

    @property
    def metrics(self) -> Metrics:
        """Executions, failures and times of each job."""
        return Metrics(self)

    @property
    def deploys(self) -> Deploys:
        """Marks of deploys, for charts."""
        return Deploys(self)

    @property
    def in_flight(self) -> InFlightSet:
        """The jobs that jobd's workers have claimed."""
        return InFlightSet(self)

    def find(self, jid: str, *, cursor: str = "") -> JobSearch:
        """A search for the job of that id, wherever it is, step by step; see :class:`JobSearch`.

        Raises:
            ArgumentError: *jid* is empty.
        """
        return JobSearch(self, jid, cursor)

    def result(self, jid: str) -> JobResult:
        """What became of a job that keeps its result; O(1), but while it runs O(jobs in flight).

        Raises:
            KeyError: nothing is kept for this id.
        """
        return results.result(self, jid)

    def family(self, root: str, *, cursor: str = "") -> FamilySearch:
        """A search for the job of that id and all that it has led to, step by step; see
        :class:`FamilySearch`, and :func:`family_of` for the relatives of one job.

        Raises:
            ArgumentError: *root* is empty.
        """
        return FamilySearch(self, root, cursor)

    # -- the server, and what people did -----------------------------------------------------------

    def info(self) -> RedisInfo:
        """The Redis server: memory, persistence, latency, and warnings. Cost: four commands."""
        return server.info(self)

    def troubles(self) -> list[Trouble]:
        """What is wrong with daemons as a whole: a crash loop, a reload that failed, log records
        that are lost. Cost: two commands."""
        return troubles.troubles(self)

    @property
    def trash(self) -> Trash:
        """What was deleted in the last 24 hours and can be restored."""
        return Trash(self)

    @property
    def periodic(self) -> PeriodicJobs:
        """Jobs that are pushed by themselves, and who leads."""
        return PeriodicJobs(self)

    @property
    def workflows(self) -> Workflows:
        """Steps that depend on each other, and how far they are."""
        return Workflows(self)

    @property
    def batches(self) -> Batches:
        """Jobs that were pushed together."""
        return Batches(self)

    @property
    def audit(self) -> Audit:
        """Who did what."""
        return Audit(self)
