"""What the API does. All of it is in the audit log under the caller's name; what is deleted can be
restored for a day."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from msgspec import Meta

from jobd.api import Deletion, Process, Queue, SortedEntry, in_group
from jobd.api.sets.steps import SetAction
from jobd.api.stats import Counter
from jobd.web.access.users import Role
from jobd.web.http_errors import Conflict, NotFound
from jobd.web.v1.operations import Body, Call, Query, Table
from jobd.web.v1.reading import (
    END,
    Cursor,
    Group,
    Jid,
    Key,
    Match,
    Name,
    OfSet,
    Pattern,
    QueuedJob,
    SetJob,
    find_entry,
    find_queued,
    set_of,
)
from jobd.web.v1.shapes import Changed

SWEEPING = 5.0
"""Seconds after which a long action says how far it has come."""

Ref = Annotated[
    str, Meta(pattern=f"^([0-9a-f]{{8,16}}-[0-9a-f]{{8}})?{END}", description="Id of the action.")
]


Permanent = Annotated[
    bool, Meta(description="Not into the trash: it cannot be undone, and frees memory at once.")
]


class ClearedQueue(Query, frozen=True):
    queue: Name
    permanent: Permanent = False


class DeletedJob(QueuedJob, frozen=True):
    permanent: Permanent = False


class ClearedSet(OfSet, frozen=True):
    permanent: Permanent = False


class DeletedEntry(SetJob, frozen=True):
    permanent: Permanent = False


class OneQueue(Body, frozen=True):
    queue: Name


class Move(Body, frozen=True):
    queue: Name
    target: Annotated[
        str, Meta(max_length=1000, pattern=f"^[A-Za-z0-9_:.-]+{END}", description="Where to.")
    ]


class MoveOne(Move, frozen=True, kw_only=True):
    jid: Jid


class Living(Query, frozen=True):
    set: Literal["scheduled", "retries"]


class Some(Body, frozen=True):
    keys: Annotated[list[Key], Meta(min_length=1, max_length=1000)]


class Matching(Body, frozen=True):
    """Those that match and are in the group; all, where neither is said."""

    match: Match = ""
    pattern: Pattern = ""
    group: Group = ""
    cursor: Cursor = ""
    ref: Ref = ""


class Delete(Some, frozen=True):
    permanent: Permanent = False


class DeleteMatching(Matching, frozen=True):
    permanent: Permanent = False


class Reschedule(Some, frozen=True):
    """``at`` is in seconds since 1970; below 1,000,000,000 from now."""

    at: Annotated[float, Meta(ge=0, le=253_402_300_799)]


class One(Body, frozen=True):
    identity: Annotated[str, Meta(min_length=1, max_length=1000)]


class OfDeletion(Query, frozen=True):
    ref: Annotated[str, Meta(min_length=1, max_length=100, description="Id of the deletion.")]


class OneDeletion(Body, frozen=True):
    ref: Annotated[str, Meta(min_length=1, max_length=100)]


class Totals(Body, frozen=True):
    """Which; all if none is named."""

    names: Annotated[list[Counter], Meta(max_length=2)] = []


OPERATIONS = Table()

# -- queues --------------------------------------------------------------------------------------


@OPERATIONS.add(
    "POST",
    "/queues/pause",
    "Let no worker of jobd or Sidekiq Pro take jobs from a queue.",
    Role.OPERATOR,
)
def pause(call: Call, body: OneQueue) -> Changed:
    return Changed(int(call.api.queue(body.queue).pause()))


@OPERATIONS.add("POST", "/queues/unpause", "Let workers take jobs again.", Role.OPERATOR)
def unpause(call: Call, body: OneQueue) -> Changed:
    return Changed(int(call.api.queue(body.queue).unpause()))


@OPERATIONS.add("POST", "/queues/move", "Move all jobs to the end of another queue.", Role.OPERATOR)
def move_all(call: Call, body: Move) -> Changed:
    return Changed(_from(call, body).move_all(body.target))


@OPERATIONS.add(
    "POST", "/job/move", "Move a job to the end of another queue.", Role.OPERATOR, finds=True
)
def move_job(call: Call, body: MoveOne) -> Changed:
    queue = _from(call, body)
    return Changed(queue.move(body.target, find_queued(call, body.queue, body.jid)))


def _from(call: Call, body: Move) -> Queue:
    if body.queue == body.target:
        raise Conflict("the jobs are in this queue already")
    return call.api.queue(body.queue)


@OPERATIONS.add("DELETE", "/queues", "Delete all jobs of a queue.", Role.ADMIN)
def clear_queue(call: Call, query: ClearedQueue) -> Changed:
    call = _deleting(call, query.permanent)
    return Changed(call.api.queue(query.queue).clear())


@OPERATIONS.add("DELETE", "/job", "Delete a job of a queue.", Role.ADMIN, finds=True)
def delete_job(call: Call, query: DeletedJob) -> Changed:
    call = _deleting(call, query.permanent)
    return Changed(int(find_queued(call, query.queue, query.jid).delete()))


# -- sets ----------------------------------------------------------------------------------------


@OPERATIONS.add("POST", "/sets/{set}/retry", "Put jobs into their queues now.", Role.OPERATOR)
def retry(call: Call, query: OfSet, body: Some) -> Changed:
    jobs, found = set_of(call, query), _named(call, query, body)
    # Where nothing has failed, nothing is tried again.
    return Changed(jobs.add_to_queue(*found) if query.set == "scheduled" else jobs.retry(*found))


@OPERATIONS.add(
    "POST", "/sets/{set}/retry-all", "Put all jobs that match into their queues.", Role.OPERATOR
)
def retry_all(call: Call, query: OfSet, body: Matching) -> Changed:
    return _sweep(call, query, body, "add_to_queue" if query.set == "scheduled" else "retry")


@OPERATIONS.add("POST", "/sets/{set}/reschedule", "Give jobs another time.", Role.OPERATOR)
def reschedule(call: Call, query: OfSet, body: Reschedule) -> Changed:
    return Changed(set_of(call, query).reschedule(body.at, *_named(call, query, body)))


@OPERATIONS.add("POST", "/sets/{set}/kill", "Move jobs to the dead set.", Role.ADMIN)
def kill(call: Call, query: Living, body: Some) -> Changed:
    return Changed(set_of(call, query).kill(*_named(call, query, body)))


@OPERATIONS.add(
    "POST", "/sets/{set}/kill-all", "Move all jobs that match to the dead set.", Role.ADMIN
)
def kill_all(call: Call, query: Living, body: Matching) -> Changed:
    return _sweep(call, query, body, "kill")


@OPERATIONS.add("POST", "/sets/{set}/delete", "Delete jobs.", Role.ADMIN)
def delete_entries(call: Call, query: OfSet, body: Delete) -> Changed:
    call = _deleting(call, body.permanent)
    return Changed(set_of(call, query).delete(*_named(call, query, body)))


@OPERATIONS.add("POST", "/sets/{set}/delete-all", "Delete all jobs that match.", Role.ADMIN)
def delete_all(call: Call, query: OfSet, body: DeleteMatching) -> Changed:
    call = _deleting(call, body.permanent)
    return _sweep(call, query, body, "delete")


@OPERATIONS.add("DELETE", "/sets/{set}/job", "Delete a job of a set.", Role.ADMIN, finds=True)
def delete_entry(call: Call, query: DeletedEntry) -> Changed:
    call = _deleting(call, query.permanent)
    return Changed(int(find_entry(call, query).delete()))


@OPERATIONS.add("DELETE", "/sets/{set}", "Delete all jobs of a set at once.", Role.ADMIN)
def clear_set(call: Call, query: ClearedSet) -> Changed:
    call = _deleting(call, query.permanent)
    return Changed(set_of(call, query).clear())


def _deleting(call: Call, permanent: bool) -> Call:
    """*call*, with or without the trash."""
    return replace(call, api=call.api.acting_as(call.api.who, trash=not permanent))


def _sweep(call: Call, query: OfSet | Living, body: Matching, name: SetAction) -> Changed:
    where = in_group(body.group) if body.group else None
    sweep = set_of(call, query).sweep(
        name,
        body.match,
        where,
        pattern=body.pattern,
        cursor=body.cursor,
        ref=body.ref or None,
    )
    changed = sweep.run(SWEEPING)
    return Changed(changed, sweep.done, "" if sweep.done else sweep.cursor, sweep.ref)


def _named(call: Call, query: OfSet | Living, body: Some) -> list[SortedEntry]:
    """Those of the keys that are still there."""
    return set_of(call, query).find_all(body.keys, seconds=SWEEPING)


# -- processes -----------------------------------------------------------------------------------


@OPERATIONS.add(
    "POST", "/process/quiet", "Let a process take no more jobs.", Role.OPERATOR, finds=True
)
def quiet(call: Call, body: One) -> Changed:
    return Changed(int(_process(call, body).quiet()))


@OPERATIONS.add(
    "POST", "/process/dump", "Let a process write its stacks.", Role.OPERATOR, finds=True
)
def dump_threads(call: Call, body: One) -> Changed:
    return Changed(int(_process(call, body).dump_threads()))


@OPERATIONS.add("POST", "/process/stop", "Let a process stop.", Role.ADMIN, finds=True)
def stop(call: Call, body: One) -> Changed:
    return Changed(int(_process(call, body).stop()))


@OPERATIONS.add("POST", "/processes/quiet", "Let all take no more jobs.", Role.OPERATOR)
def quiet_all(call: Call) -> Changed:
    return Changed(call.api.processes.quiet_all())


@OPERATIONS.add("POST", "/processes/dump", "Let all write their stacks.", Role.OPERATOR)
def dump_all(call: Call) -> Changed:
    return Changed(call.api.processes.dump_threads_all())


@OPERATIONS.add("POST", "/processes/stop", "Let all stop.", Role.ADMIN)
def stop_all(call: Call) -> Changed:
    return Changed(call.api.processes.stop_all())


def _process(call: Call, body: One) -> Process:
    try:
        found = call.api.processes[body.identity]
    except KeyError:
        raise NotFound("there is no such process (any more)") from None
    if found.embedded:
        raise Conflict("it is a part of another program and takes no signals; stop that one")
    return found


# -- trash and totals ------------------------------------------------------------------------------


@OPERATIONS.add("POST", "/trash/restore", "Undo a deletion.", Role.ADMIN, finds=True)
def restore(call: Call, body: OneDeletion) -> Changed:
    found = _deletion(call, body.ref)
    restored = found.restore(SWEEPING)
    return Changed(restored, done=not _is_there(call, body.ref), ref=body.ref)


@OPERATIONS.add("DELETE", "/trash", "Make a deletion final.", Role.ADMIN, finds=True)
def purge(call: Call, query: OfDeletion) -> Changed:
    return Changed(_deletion(call, query.ref).purge())


@OPERATIONS.add("POST", "/trash/empty", "Make all deletions final.", Role.ADMIN)
def empty_trash(call: Call) -> Changed:
    purged = call.api.trash.empty(SWEEPING)
    return Changed(purged, done=not call.api.trash.page(0, 1).size)


@OPERATIONS.add("POST", "/stats/reset", "Set totals to zero.", Role.ADMIN)
def reset(call: Call, body: Totals) -> Changed:
    call.api.reset_stats(*body.names)
    return Changed(len(body.names) or 2)


def _deletion(call: Call, ref: str) -> Deletion:
    try:
        return call.api.trash[ref]
    except KeyError:
        raise NotFound("there is no such deletion (any more)") from None


def _is_there(call: Call, ref: str) -> bool:
    try:
        _deletion(call, ref)
    except NotFound:
        return False
    return True
