"""Finding one job by its id: where it is likely to be first, then everywhere, with progress.

The next jobs of every queue come before the rest of a long one: an operator asks for a job that
should be running.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobctl.data.bulk import Progress
from jobctl.data.frame import not_found
from jobd.api.entry import Api
from jobd.api.features.held_back import LOCK, find_held_back
from jobd.api.find import WORK, Found
from jobd.api.queues.queues import Queue
from jobd.api.queues.scan import QueueScan
from jobd.api.records import JobRecord

NEXT = 10_000
"""Jobs of each queue that are looked at first."""

_MOST_QUEUES = 10_000


def locate(api: Api, jid: str, queue: str | None = None) -> Found | None:
    """The job of that id, None if it is nowhere. A job that moves meanwhile may be missed.

    Cost: O(jobs), in steps of at most 250 jobs or about 1 MB.

    Args:
        queue: the only queue in which to look for it, beside what runs, the locks and the sets.
    """
    progress = Progress("searching", None)
    try:
        return next(_found(api, jid, queue, progress), None)
    finally:
        progress.clear()


def _found(api: Api, jid: str, queue: str | None, progress: Progress) -> Iterator[Found]:
    if (running := in_flight(api, jid)) is not None:
        yield Found(WORK, running)
    if (waits := find_held_back(api, jid)) is not None:
        yield Found(LOCK, waits)
    names = [queue] if queue else [one.name for one in Queue.all(api)[:_MOST_QUEUES]]
    scans = {name: _scan(api, name, jid) for name in names}
    for name, scan in scans.items():
        while not scan.done and scan.scanned < NEXT:
            for job in scan.next():
                yield Found(f"queue:{name}", job)
    looked = sum(scan.scanned for scan in scans.values())
    for jobs in (api.retries, api.scheduled, api.dead):
        for many, entries in jobs.seek(jid):
            for entry in entries:
                yield Found(jobs.name, entry)
            looked += many
            progress.show(looked)
    for name, scan in scans.items():
        before = scan.scanned
        while not scan.done:
            for job in scan.next():
                yield Found(f"queue:{name}", job)
            progress.show(looked + scan.scanned - before)
        looked += scan.scanned - before
    # It may have been taken while it was looked for.
    if (running := in_flight(api, jid)) is not None:
        yield Found(WORK, running)


def one_job(api: Api, jid: str, queue: str | None) -> Found:
    """The job, which has to be somewhere.

    Raises:
        Problem: it is not.
    """
    found = locate(api, jid, queue)
    if found is None:
        raise not_found(f"there is no job {jid}: it is done, was deleted, or was never pushed")
    return found


def in_flight(api: Api, jid: str) -> JobRecord | None:
    """The job, if a worker has it. Cost: O(running jobs)."""
    work = api.work.find_work(jid)
    if work is not None:
        return work.job
    claim = api.in_flight.find_job(jid)
    return None if claim is None else claim.job


def _scan(api: Api, name: str, jid: str) -> QueueScan:
    return QueueScan(name, api, [], lambda job: job.jid == jid, "", jid=jid)
