"""Periodic jobs: what is due when, what became of the last ticks, and acting on a schedule."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from jobd.api import PeriodicJob, why_not_due
from jobd.api.actions import NOTHING, Given
from jobd.api.features.schedule_actions import SCHEDULE_ACTIONS
from jobd.api.shapes import Why
from jobd.web.http_errors import NotFound
from jobd.web.v1.operations import Body, Call, Query, Table
from jobd.web.v1.reading import Listed

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
    who: str


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


class PeriodicDetail(Periodic, kw_only=True, frozen=True):
    """The same with what became of its last 20 ticks, the newest first, and with why it does not
    run: what blocks it, or when it is due."""

    ticks: list[Tick]
    reasons: list[Why]


class OfSchedule(Query, frozen=True):
    id: Id


class OnSchedule(Body, frozen=True):
    id: Id


class NewLine(Body, frozen=True):
    id: Id
    line: Annotated[
        str, Meta(max_length=200, description="A line of cron, or an interval: @every 90s.")
    ]
    tz: Annotated[
        str | None,
        Meta(description="Its time zone; by default the one that the schedule has."),
    ] = None


class Acted(Struct, frozen=True):
    """Whether anything was to be done, and the id of the job that was pushed."""

    done: bool
    jid: str = ""


OPERATIONS = Table()


@OPERATIONS.add("GET", "/periodic", "Periodic jobs, the next one first.")
def periodic(call: Call, query: Listed) -> list[Periodic]:
    jobs = call.api.periodic
    return [_shown(one) for one in jobs.all(query.count, query.start)]


@OPERATIONS.add("GET", "/periodic/{id}", "One periodic job, with its last ticks.")
def periodic_job(call: Call, query: OfSchedule) -> PeriodicDetail:
    found = _found(call, query.id)
    ticks = [
        Tick(one.what, one.at, one.tick, one.jid, one.holder, one.why, one.who)
        for one in call.api.periodic.ticks(found)
    ]
    reasons = list(map(Why.of, why_not_due(call.api, found)))
    return PeriodicDetail(
        **msgspec.structs.asdict(_shown(found, MOST_NEXT)), ticks=ticks, reasons=reasons
    )


@OPERATIONS.act("POST", "/periodic/run", SCHEDULE_ACTIONS["run"], finds=True)
def run_periodic(call: Call, body: OnSchedule) -> Acted:
    return Acted(True, str(_act(call, "run", body.id)))


@OPERATIONS.act("POST", "/periodic/pause", SCHEDULE_ACTIONS["pause"], finds=True)
def pause_periodic(call: Call, body: OnSchedule) -> Acted:
    return Acted(bool(_act(call, "pause", body.id)))


@OPERATIONS.act("POST", "/periodic/resume", SCHEDULE_ACTIONS["resume"], finds=True)
def resume_periodic(call: Call, body: OnSchedule) -> Acted:
    return Acted(bool(_act(call, "resume", body.id)))


@OPERATIONS.act("POST", "/periodic/set", SCHEDULE_ACTIONS["set"], finds=True)
def set_periodic(call: Call, body: NewLine) -> Acted:
    return Acted(bool(_act(call, "set", body.id, Given(line=body.line, tz=body.tz))))


@OPERATIONS.act("POST", "/periodic/reset", SCHEDULE_ACTIONS["reset"], finds=True)
def reset_periodic(call: Call, body: OnSchedule) -> Acted:
    return Acted(bool(_act(call, "reset", body.id)))


def _act(call: Call, name: str, schedule: str, given: Given = NOTHING) -> str | bool:
    return SCHEDULE_ACTIONS[name].do(call.api.periodic, _found(call, schedule), given)


def _found(call: Call, name: str) -> PeriodicJob:
    try:
        return call.api.periodic[name]
    except KeyError:
        raise NotFound("there is no such periodic job") from None


def _shown(one: PeriodicJob, most: int = 1) -> Periodic:
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
    )
