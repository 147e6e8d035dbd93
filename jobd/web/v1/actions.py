"""What the API does. All of it is in the audit log under the caller's name; what is deleted can be
restored for a day."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, get_args

from msgspec import Meta

from jobd.api import Deletion, Process, Queue, in_group
from jobd.api.actions import (
    DELETION_ACTIONS,
    EMPTY_TRASH,
    JOB_ACTIONS,
    NOTHING,
    PROCESS_ACTIONS,
    QUEUE_ACTIONS,
    QUEUED_ACTIONS,
    SET_ACTIONS,
    Given,
)
from jobd.api.roles import Role
from jobd.api.sets.steps import SetAction
from jobd.api.shapes import CancelledJob, Changed
from jobd.api.stats import Counter
from jobd.web.http_errors import Conflict, NotFound
from jobd.web.v1.operations import Body, Call, Query, Table
from jobd.web.v1.reading import (
    END,
    Group,
    Jid,
    Key,
    Match,
    Name,
    OfSet,
    Pattern,
    QueuedJob,
    SetCursor,
    SetJob,
    find_entry,
    find_queued,
    set_of,
)

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


class OneJob(Body, frozen=True):
    """``queue``: the only one in which to look for it."""

    jid: Jid
    queue: Name | None = None


class CancelledOne(OneJob, frozen=True):
    """``force``: its worker is replaced if the job does not end."""

    force: bool = False


class Living(Query, frozen=True):
    set: Literal["scheduled", "retries"]


class Some(Body, frozen=True):
    keys: Annotated[list[Key], Meta(min_length=1, max_length=1000)]


class Matching(Body, frozen=True):
    """Those that match and are in the group; all, where neither is said."""

    match: Match = ""
    pattern: Pattern = ""
    group: Group = ""
    cursor: SetCursor = ""
    ref: Ref = ""


class Delete(Some, frozen=True):
    permanent: Permanent = False


class DeleteMatching(Matching, frozen=True):
    permanent: Permanent = False


class Reschedule(Some, frozen=True):
    """``at`` is in seconds since 1970, until 2100; below 1,000,000,000 from now."""

    at: Annotated[float, Meta(ge=0, le=4_102_444_800)]


class One(Body, frozen=True):
    identity: Annotated[str, Meta(min_length=1, max_length=1000)]


class OfDeletion(Query, frozen=True):
    ref: Annotated[str, Meta(min_length=1, max_length=100, description="Id of the deletion.")]


class OneDeletion(Body, frozen=True):
    ref: Annotated[str, Meta(min_length=1, max_length=100)]


class Totals(Body, frozen=True):
    """Which; all if none is named."""

    names: Annotated[list[Counter], Meta(max_length=len(get_args(Counter)))] = []


OPERATIONS = Table()

# -- queues --------------------------------------------------------------------------------------


@OPERATIONS.act("POST", "/queues/pause", QUEUE_ACTIONS["pause"])
def pause(call: Call, body: OneQueue) -> Changed:
    return _queue(call.api.queue(body.queue), "pause")


@OPERATIONS.act("POST", "/queues/unpause", QUEUE_ACTIONS["resume"])
def unpause(call: Call, body: OneQueue) -> Changed:
    return _queue(call.api.queue(body.queue), "resume")


@OPERATIONS.act("POST", "/queues/move", QUEUE_ACTIONS["move"])
def move_all(call: Call, body: Move) -> Changed:
    return _queue(_from(call, body), "move", Given(queue=body.target))


@OPERATIONS.act("POST", "/job/move", QUEUED_ACTIONS["move"], finds=True)
def move_job(call: Call, body: MoveOne) -> Changed:
    queue, job = _from(call, body), find_queued(call, body.queue, body.jid)
    return Changed(QUEUED_ACTIONS["move"].do(queue, [job], Given(queue=body.target)))


def _queue(queue: Queue, name: str, given: Given = NOTHING) -> Changed:
    return Changed(int(QUEUE_ACTIONS[name].do(queue, given)))


def _from(call: Call, body: Move) -> Queue:
    if body.queue == body.target:
        raise Conflict("the jobs are in this queue already")
    return call.api.queue(body.queue)


@OPERATIONS.act("DELETE", "/queues", QUEUE_ACTIONS["clear"])
def clear_queue(call: Call, query: ClearedQueue) -> Changed:
    call = _deleting(call, query.permanent)
    return _queue(call.api.queue(query.queue), "clear")


@OPERATIONS.act("DELETE", "/job", QUEUED_ACTIONS["delete"], finds=True)
def delete_job(call: Call, query: DeletedJob) -> Changed:
    call = _deleting(call, query.permanent)
    queue, job = call.api.queue(query.queue), find_queued(call, query.queue, query.jid)
    return Changed(QUEUED_ACTIONS["delete"].do(queue, [job], NOTHING))


@OPERATIONS.act("POST", "/job/cancel", JOB_ACTIONS["cancel"])
def cancel_job(call: Call, body: CancelledOne) -> CancelledJob:
    answer = JOB_ACTIONS["cancel"].do(call.api, body.jid, body.queue, body.force)
    return CancelledJob(answer)


# -- sets ----------------------------------------------------------------------------------------


@OPERATIONS.act("POST", "/sets/{set}/retry", SET_ACTIONS["retry"])
def retry(call: Call, query: OfSet, body: Some) -> Changed:
    return _some(call, query, body, _retry(query))


@OPERATIONS.act(
    "POST",
    "/sets/{set}/retry-all",
    SET_ACTIONS["retry"],
    "Put all jobs that match into their queues.",
)
def retry_all(call: Call, query: OfSet, body: Matching) -> Changed:
    return _sweep(call, query, body, _retry(query))


@OPERATIONS.act("POST", "/sets/{set}/reschedule", SET_ACTIONS["reschedule"])
def reschedule(call: Call, query: OfSet, body: Reschedule) -> Changed:
    return _some(call, query, body, "reschedule", Given(when=body.at))


@OPERATIONS.act("POST", "/sets/{set}/kill", SET_ACTIONS["kill"])
def kill(call: Call, query: Living, body: Some) -> Changed:
    return _some(call, query, body, "kill")


@OPERATIONS.act(
    "POST",
    "/sets/{set}/kill-all",
    SET_ACTIONS["kill"],
    "Move all jobs that match to the dead set.",
)
def kill_all(call: Call, query: Living, body: Matching) -> Changed:
    return _sweep(call, query, body, "kill")


@OPERATIONS.act("POST", "/sets/{set}/delete", SET_ACTIONS["delete"])
def delete_entries(call: Call, query: OfSet, body: Delete) -> Changed:
    return _some(_deleting(call, body.permanent), query, body, "delete")


@OPERATIONS.act(
    "POST", "/sets/{set}/delete-all", SET_ACTIONS["delete"], "Delete all jobs that match."
)
def delete_all(call: Call, query: OfSet, body: DeleteMatching) -> Changed:
    call = _deleting(call, body.permanent)
    return _sweep(call, query, body, "delete")


@OPERATIONS.act(
    "DELETE", "/sets/{set}/job", SET_ACTIONS["delete"], "Delete a job of a set.", finds=True
)
def delete_entry(call: Call, query: DeletedEntry) -> Changed:
    call = _deleting(call, query.permanent)
    entry = find_entry(call, query)
    return Changed(SET_ACTIONS["delete"].do(entry.parent, [entry], NOTHING))


@OPERATIONS.act("DELETE", "/sets/{set}", SET_ACTIONS["delete"], "Delete all jobs of a set at once.")
def clear_set(call: Call, query: ClearedSet) -> Changed:
    call = _deleting(call, query.permanent)
    return Changed(set_of(call, query).clear())


def _retry(query: OfSet) -> SetAction:
    # Where nothing has failed, nothing is tried again.
    return "add_to_queue" if query.set == "scheduled" else "retry"


def _some(
    call: Call,
    query: OfSet | Living,
    body: Some,
    name: SetAction,
    given: Given = NOTHING,
) -> Changed:
    """Do it to those of the keys that are still there."""
    jobs = set_of(call, query)
    found = jobs.find_all(body.keys, seconds=SWEEPING)
    return Changed(SET_ACTIONS[name].do(jobs, found, given))


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
    return Changed(changed, sweep.done, "" if sweep.done else sweep.cursor, sweep.ref, sweep.kept)


# -- processes -----------------------------------------------------------------------------------


@OPERATIONS.act("POST", "/process/quiet", PROCESS_ACTIONS["quiet"], finds=True)
def quiet(call: Call, body: One) -> Changed:
    return _tell(call, "quiet", _process(call, body))


@OPERATIONS.act("POST", "/process/dump", PROCESS_ACTIONS["dump"], finds=True)
def dump_threads(call: Call, body: One) -> Changed:
    return _tell(call, "dump", _process(call, body))


@OPERATIONS.act("POST", "/process/stop", PROCESS_ACTIONS["stop"], finds=True)
def stop(call: Call, body: One) -> Changed:
    return _tell(call, "stop", _process(call, body))


@OPERATIONS.act("POST", "/processes/quiet", PROCESS_ACTIONS["quiet"], "Make all take no more jobs.")
def quiet_all(call: Call) -> Changed:
    return _tell(call, "quiet")


@OPERATIONS.act("POST", "/processes/dump", PROCESS_ACTIONS["dump"], "Make all write their stacks.")
def dump_all(call: Call) -> Changed:
    return _tell(call, "dump")


@OPERATIONS.act("POST", "/processes/stop", PROCESS_ACTIONS["stop"], "Make all stop.")
def stop_all(call: Call) -> Changed:
    return _tell(call, "stop")


def _tell(call: Call, name: str, process: Process | None = None) -> Changed:
    return Changed(int(PROCESS_ACTIONS[name].do(call.api.processes, process)))


def _process(call: Call, body: One) -> Process:
    try:
        found = call.api.processes[body.identity]
    except KeyError:
        raise NotFound("there is no such process (any more)") from None
    if found.embedded:
        raise Conflict("it is a part of another program and takes no signals; stop that one")
    return found


# -- trash and totals ------------------------------------------------------------------------------


@OPERATIONS.act("POST", "/trash/restore", DELETION_ACTIONS["restore"], finds=True)
def restore(call: Call, body: OneDeletion) -> Changed:
    restored = DELETION_ACTIONS["restore"].do(_deletion(call, body.ref), SWEEPING)
    return Changed(restored, done=not _is_there(call, body.ref), ref=body.ref)


@OPERATIONS.act("DELETE", "/trash", DELETION_ACTIONS["purge"], finds=True)
def purge(call: Call, query: OfDeletion) -> Changed:
    return Changed(DELETION_ACTIONS["purge"].do(_deletion(call, query.ref), SWEEPING))


@OPERATIONS.act("POST", "/trash/empty", EMPTY_TRASH)
def empty_trash(call: Call) -> Changed:
    purged = EMPTY_TRASH.do(call.api.trash, SWEEPING)
    return Changed(purged, done=not call.api.trash.page(0, 1).size)


@OPERATIONS.add("POST", "/stats/reset", "Set totals to zero.", Role.ADMIN)
def reset(call: Call, body: Totals) -> Changed:
    call.api.reset_stats(*body.names)
    return Changed(len(body.names) or len(get_args(Counter)))


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
