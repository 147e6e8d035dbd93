"""Where a job is, as a short text for addresses and forms; only this module writes and reads it.

A job is in a *set*, ``retry``, ``schedule``, ``dead``, ``queue:NAME``, ``work`` or ``lock``, and
has a *key* there: ``SCORE-JID`` in the sorted sets, ``JID~DIGEST@PLACE`` in a queue, where the
place is a hint by which it is found sooner (``JID`` alone is searched for), and its id where it
runs or waits for a lock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from jobd.api import Api, JobRecord, JobSet, QueuedKey, SortedEntry
from jobd.api.features.held_back import LOCK, find_held_back
from jobd.api.records import is_plain
from jobd.errors import ArgumentError
from jobd.text.translatable import Text
from jobd.web.request import url

PAGES = {"retry": "retries", "schedule": "scheduled", "dead": "dead"}
"""The pages of the sorted sets."""

_SECONDS = 0.5
"""For which a job of a queue is searched for of which only the id is known."""

_QUEUED = re.compile(r"(?P<jid>[\w-]*)~(?P<digest>[0-9a-f]{16})(?:@(?P<place>\d{1,15}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one job is."""

    set: str
    key: str


def of_entry(entry: SortedEntry) -> Place:
    """Of a job in a sorted set."""
    return Place(entry.parent.name, entry.key)


def of_queued(job: JobRecord, before: int | None = None) -> Place:
    """Of a job in a queue, with *before* jobs that run before it."""
    jid = job.jid if is_plain(job.jid) else ""
    hint = "" if before is None else f"@{before}"
    return Place(f"queue:{job.queue}", f"{jid}~{job.digest}{hint}")


def job_url(request: Request, place: Place) -> str:
    """The address of the page of the job there."""
    return url(request, "job", set=place.set, key=place.key)


def list_url(request: Request, name: str) -> str:
    """The address of the list of the set *name*; of the overview where it has none."""
    kind, _, queue = name.partition(":")
    if kind == "queue" and queue:
        return url(request, "queue", name=queue)
    return url(request, PAGES.get(name, "overview"))


def set_named(api: Api, name: str) -> JobSet:
    """The sorted set of that name.

    Raises:
        ArgumentError: there is none.
    """
    sets: Sequence[JobSet] = (api.retries, api.scheduled, api.dead)
    found = next((jobs for jobs in sets if jobs.name == name), None)
    if found is None:
        raise ArgumentError(
            Text(
                "unknown set %(set)s; use one of: %(known)s",
                set=repr(name[:100]),
                known=", ".join(PAGES),
            )
        )
    return found


def queued_keys(keys: Iterable[str]) -> list[QueuedKey]:
    """What the keys of jobs in a queue say.

    Raises:
        ArgumentError: one of them is none.

    >>> queued_keys(["ab~0123456789abcdef@7"])
    [QueuedKey(digest='0123456789abcdef', jid='ab', place=7)]
    """
    found = []
    for key in keys:
        parts = _QUEUED.fullmatch(key)
        if parts is None:
            raise ArgumentError(
                Text("%(key)s is not the key of a job in a queue", key=repr(key[:200]))
            )
        place = None if parts["place"] is None else int(parts["place"])
        found.append(QueuedKey(parts["digest"], parts["jid"], place))
    return found


def find(api: Api, place: Place) -> JobRecord | None:
    """The job that is there, None if it is not, or not any more; a running one as it is stored.

    Raises:
        ArgumentError: there is no such set, or the key is none.
    """
    kind, _, queue = place.set.partition(":")
    if place.set == "work":
        work = api.work.find_work(place.key)
        claim = None if work else api.in_flight.find_job(place.key)
        return work.job if work else claim.job if claim else None
    if place.set == LOCK:
        return find_held_back(api, place.key)
    if kind == "queue" and queue and "~" not in place.key:
        scan = api.queue(queue).scan(where=lambda job: job.jid == place.key)
        return next(iter(scan.first(1, seconds=_SECONDS)), None)
    if kind == "queue" and queue:
        return next(iter(api.queue(queue).find_all(queued_keys([place.key]))), None)
    return next(iter(set_named(api, place.set).find_all([place.key])), None)
