"""Periodic jobs: what is due when, what became of the last ticks, and acting on a schedule."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobd.api import PeriodicJob
from jobd.api.roles import Role
from jobd.errors import ConflictError
from jobd.web.http_errors import Conflict, NotFound, said_by
from jobd.web.v1.operations import Body, Call, Query, Table

Id = Annotated[str, Meta(pattern="^[0-9a-f]{16}(?![\\s\\S])", description="Id of the schedule.")]
MOST_NEXT = 20


class Tick(Struct, frozen=True):
    """What became of a tick; ``run`` are jobs that a user has asked for."""

    what: str
    at: float
    tick: float
    jid: str
    holder: str
    why: str


class Periodic(Struct, kw_only=True, frozen=True):
    """A schedule and its job; ``next`` is null while it is paused."""

    id: str
    app: str
    name: str
    job: str
    queue: str
    line: str
    tz: str
    foreign: bool
    catch_up: str
    grace: float
    overlap: str
    jitter: float
    paused: bool
    changed: bool
    next: float | None
    upcoming: list[float]
    ticks: list[Tick]


class OfSchedule(Query, frozen=True):
    id: Id


class Act(Body, frozen=True):
    id: Id


class Acted(Struct, frozen=True):
    """Whether anything was to be done, and the id of the job that was pushed."""

    done: bool
    jid: str = ""


OPERATIONS = Table()


@OPERATIONS.add("GET", "/periodic", "Periodic jobs, the next one first.")
def periodic(call: Call) -> list[Periodic]:
    jobs = call.api.periodic
    return [_shown(one, []) for one in jobs.all(1000)]


@OPERATIONS.add("GET", "/periodic/{id}", "One periodic job, with its last ticks.")
def periodic_job(call: Call, query: OfSchedule) -> Periodic:
    found = _found(call, query.id)
    ticks = call.api.periodic.ticks(found)
    return _shown(
        found,
        [Tick(one.what, one.at, one.tick, one.jid, one.holder, one.why) for one in ticks],
        MOST_NEXT,
    )


@OPERATIONS.add("POST", "/periodic/pause", "Push no more of its ticks.", Role.OPERATOR, finds=True)
def pause_periodic(call: Call, body: Act) -> Acted:
    return _act(call, body.id, "pause")


@OPERATIONS.add(
    "POST", "/periodic/resume", "Push its ticks again, from now on.", Role.OPERATOR, finds=True
)
def resume_periodic(call: Call, body: Act) -> Acted:
    return _act(call, body.id, "resume")


@OPERATIONS.add(
    "POST", "/periodic/run", "Push its job now, beside its ticks.", Role.OPERATOR, finds=True
)
def run_periodic(call: Call, body: Act) -> Acted:
    return _act(call, body.id, "run")


def _act(call: Call, name: str, act: Literal["pause", "resume", "run"]) -> Acted:
    found, jobs = _found(call, name), call.api.periodic
    if act == "pause":
        return Acted(jobs.pause(found))
    if act == "resume":
        return Acted(jobs.resume(found))
    try:
        return Acted(True, jobs.run(found))
    except ConflictError as error:
        raise Conflict(said_by(error)) from None


def _found(call: Call, name: str) -> PeriodicJob:
    try:
        return call.api.periodic[name]
    except KeyError:
        raise NotFound("there is no such periodic job") from None


def _shown(one: PeriodicJob, ticks: list[Tick], most: int = 1) -> Periodic:
    entry = one.entry
    return Periodic(
        id=one.id,
        app=entry.app,
        name=entry.name,
        job=entry.job,
        queue=entry.queue,
        line=f"every {entry.every:g} s" if entry.every else entry.cron,
        tz=entry.tz,
        foreign=entry.foreign,
        catch_up=entry.catch_up,
        grace=entry.grace,
        overlap=entry.overlap,
        jitter=entry.jitter,
        paused=one.paused is not None,
        changed=one.changed,
        next=one.next,
        upcoming=one.upcoming(most),
        ticks=ticks,
    )
