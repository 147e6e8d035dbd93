"""Where a job comes from and what it has pushed, as far as it is still in Redis.

Nothing has an index by it, so this is a search through everything, in bounded steps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import chain

from jobd.api.find import WORK, Found, JobSearch
from jobd.api.inflight import InFlightSet
from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.api.work import WorkSet

MOST = 1_000
"""Members of a family that are noted."""


class FamilySearch(JobSearch):
    """The search for a job and those that it has led to, by the id of the first one; in steps, as
    :class:`JobSearch`.

    Example:
        >>> search = api.family("1befef82961e0772dce5ae4d")  # doctest: +SKIP
        >>> [found.job.parent_jid for found in search.first(10)]  # doctest: +SKIP
        ['', '1befef82961e0772dce5ae4d']
    """

    def _wanted(self, job: JobRecord) -> bool:
        return self._jid in (job.jid, job.root_jid)

    def _running(self) -> list[Found]:
        claims = (one.job for one in InFlightSet(self._api).mentioning(self._jid))
        works = (one.job for one in WorkSet(self._api).mentioning(self._jid))
        jobs = {job.value: job for job in chain(claims, works)}
        return [Found(WORK, job) for job in jobs.values() if self._wanted(job)]


@dataclass(frozen=True, slots=True)
class Relative:
    """A job of a family.

    Attributes:
        name: of its class; "" if it was not found.
        place, key: as of :class:`Found`; "" if it was not found.
    """

    jid: str
    name: str = ""
    place: str = ""
    key: str = ""
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """The relatives of a job.

    Attributes:
        ancestors: the root first, the parent last; those in between as far as they were found.
        gap: whether ancestors between the root and the next one are not known.
        children: jobs that it has pushed.
        scanned: how many jobs have been looked at.
        complete: whether these are all.
    """

    ancestors: tuple[Relative, ...]
    gap: bool
    children: tuple[Relative, ...]
    scanned: int
    complete: bool


def family_of(session: Session, job: JobRecord, *, seconds: float = 0.25) -> Family:
    """The ancestors of *job*, and those of its children that a search finds in about *seconds*.

    Cost: what is searched in that time, a thousand jobs a step.

    Raises:
        UnavailableError: the server does not answer.
    """
    root, end = job.root_jid or job.jid, time.monotonic() + seconds
    found: dict[str, Relative] = {}
    if not root:
        return Family((), False, (), 0, complete=True)
    search = FamilySearch(session, root)
    while not search.done and len(found) < MOST:
        for one in search.next():
            found[one.job.jid] = Relative(
                one.job.jid, one.job.display_class, one.place, one.key, one.job.parent_jid
            )
        if time.monotonic() >= end:
            break
    ancestors = _ancestors(job, found)
    gap = root != job.jid and (not ancestors or ancestors[0].jid != root)
    if gap:
        ancestors.insert(0, found.get(root, Relative(root)))
    children = tuple(one for one in found.values() if one.parent == job.jid)
    return Family(tuple(ancestors), gap, children, search.scanned, search.done)


def _ancestors(job: JobRecord, found: dict[str, Relative]) -> list[Relative]:
    """Those that are known without a gap, the parent last."""
    known: list[Relative] = []
    seen, above = {job.jid}, job.parent_jid
    while above and above not in seen:
        seen.add(above)
        known.insert(0, found.get(above, Relative(above)))
        above = known[0].parent
    return known
