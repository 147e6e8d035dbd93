"""What is left of the jobs that belong together, wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from jobd.api.find import WORK, Found, JobSearch
from jobd.api.inflight import InFlightSet
from jobd.api.queues.private import private
from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.api.work import WorkSet


class RemainingJobs(JobSearch):
    """The search for them, in steps as :class:`JobSearch`; the dead ones, too, and those that wait
    for a lock. None is given up for the sake of time: one that is not found is taken for lost.

    Args:
        mark: plain text in the payload of each.
        belongs: whether a job is one of them.
    """

    def __init__(self, session: Session, mark: str, belongs: Callable[[JobRecord], bool]) -> None:
        super().__init__(session, mark)
        self._belongs = belongs

    def _wanted(self, job: JobRecord) -> bool:
        return self._belongs(job)

    def _running(self) -> list[Found]:
        claims = (one.job for one in InFlightSet(self._api).all_mentioning(self._jid))
        works = (one.job for one in WorkSet(self._api).mentioning(self._jid))
        taken = private(self._api, self._jid)
        return [Found(WORK, job) for job in chain(claims, works, taken) if self._wanted(job)]
