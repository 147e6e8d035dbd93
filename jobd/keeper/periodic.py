"""Periodic jobs: pushes the job of each tick when it comes.

What is due when is in Redis. A script compares the next tick of a schedule with the one that it
was called for, pushes the job and stores the one after, so each tick is decided once, whoever
calls. The keeper that leads does that in time, having prepared the calls before; any other one does
it for what is :data:`LATE`. So this loop is also the one that takes and keeps the lead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, cast

import redis

from jobd.ambient import clock
from jobd.keeper.leader import Leadership
from jobd.schedules import deciding, entry
from jobd.schedules.deciding import Step
from jobd.schedules.entry import Entry
from jobd.store.keys import Keys
from jobd.store.known import Known
from jobd.store.loops import Loop
from jobd.store.ticks import Taken, TickCall, TickCalls, changed

LATE = 0.5
"""Seconds after which a keeper that does not lead pushes the job of a tick."""

AHEAD = 1.0
"""Seconds before a tick in which the one that leads prepares its calls: at a full hour many
schedules may be due at once, and reading their lines takes longer than pushing their jobs."""

AT_ONCE = 1000
"""Most schedules that are looked at in one turn."""

HELD = 2.0
"""Seconds until a schedule is looked at again that nobody can run."""

BROKEN = 60.0
"""The same for one that cannot be read, or whose keys cannot be written."""


class Planned(NamedTuple):
    """A step that has been prepared."""

    name: str
    call: TickCall


class Periodic(Loop):
    """The loop.

    Args:
        identity: its own, "" if it may not lead.
        on_lead: called with the number of its lead when it has changed, 0 for none.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        identity: str,
        on_lead: Callable[[int], None],
    ) -> None:
        super().__init__("periodic", client)
        self._client = client
        self._keys = keys
        self.leadership = Leadership(client, keys, identity)
        self._known = Known(client, keys)
        self._on_lead = on_lead
        self._told = 0
        self._held: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self.quiet = False
        self.resigned = True
        """Whether it does not lead."""

    def run(self) -> None:
        super().run()
        self._step_down()

    def turn(self) -> float | None:
        if self.quiet:
            self._step_down()
            return None
        self.resigned = False
        try:
            seen = self.leadership.look()
        finally:
            self._tell()
        leads = bool(self.leadership.token)
        late, ahead = (0.0, AHEAD) if leads else (LATE, 0.0)
        now = self.leadership.server_time()
        if seen.due + late > now + seen.again + ahead:
            return seen.again
        due = self._due(now + seen.again + ahead)
        if not due:
            return seen.again
        first = due[0][1]
        if (early := first + late - ahead - now) > 0:
            return min(early, seen.again)
        # What comes later is prepared in a turn of its own: one with much to do delays no other.
        come = [one for one in due if one[1] <= max(first, now - late)]
        plans = self._prepare(come, now)
        calls = TickCalls(self._client, self._keys, [plan.call for plan in plans])
        if (wait := first + late - self.leadership.server_time()) > 0 and self._alarm.wait(wait):
            return 0.0
        self._take(plans, calls)
        return 0.0

    def push(self, now: float) -> None:
        """Push the jobs of all ticks up to *now*, where no keeper runs: in the world of tests."""
        while due := self._due(now):
            plans = self._prepare(due, now)
            self._take(plans, TickCalls(self._client, self._keys, [plan.call for plan in plans]))

    def _tell(self) -> None:
        token = self.leadership.token
        if token != self._told:
            self._told = token
            self._on_lead(token)

    def _step_down(self) -> None:
        try:
            self.leadership.give_up()
        except redis.RedisError as error:
            self.log.debug("lead_not_given_up", error=str(error))
        self._tell()
        self.resigned = True

    def _due(self, until: float) -> list[tuple[str, float]]:
        """The schedules whose next tick comes until then, and that tick."""
        found = cast(
            "list[tuple[bytes, float]]",
            self._client.zrange(
                self._keys.periodic,
                "-inf",
                repr(until),
                byscore=True,
                offset=0,
                num=AT_ONCE + len(self._held),
                withscores=True,
            ),
        )
        now = clock.monotonic()
        self._held = {name: at for name, at in self._held.items() if at > now}
        due = [(name.decode(errors="replace"), float(at)) for name, at in found]
        return [one for one in due if one[0] not in self._held]

    def _prepare(self, due: list[tuple[str, float]], now: float) -> list[Planned]:
        pipeline = self._client.pipeline(transaction=False)
        for schedule, _ in due:
            pipeline.hmget(self._keys.schedule_of(schedule), ["entry", "own"])
        stored = pipeline.execute(raise_on_error=False)
        plans: list[Planned] = []
        for (schedule, tick), found in zip(due, stored, strict=True):
            try:
                if isinstance(found, Exception):
                    raise found
                if found[0] is None:
                    self._client.zrem(self._keys.periodic, schedule)  # its hash was deleted by hand
                    continue
                made = changed(entry.decode(found[0]), found[1])
                plans += self._planned(made, tick, max(now, tick))
            except (redis.ConnectionError, redis.TimeoutError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong, it stops no other
                self._hold(schedule, BROKEN, "schedule_unusable", schedule, str(error))
        return plans

    def _planned(self, made: Entry, tick: float, now: float) -> list[Planned]:
        unable = self._known.missing(made, now)
        if unable and now - tick <= made.grace:
            self._hold(made.id, HELD, "tick_held", made.name, unable)
            return []
        if not unable:
            self._said.pop(made.id, None)
        return [
            Planned(made.name, _call(made, step, now))
            for step in deciding.steps(made, tick, now, unable)
        ]

    def _hold(self, schedule: str, seconds: float, event: str, name: str, why: str) -> None:
        self._held[schedule] = clock.monotonic() + seconds
        if self._said.get(schedule) != why:
            self._said[schedule] = why
            self.log.warning(event, schedule=name, reason=why)

    def _take(self, plans: list[Planned], calls: TickCalls) -> None:
        for plan, taken in zip(plans, calls.send(), strict=False):
            self._report(plan, taken)

    def _report(self, plan: Planned, taken: Taken) -> None:
        call = plan.call
        tick = call.tick and datetime.fromtimestamp(call.tick, UTC).isoformat()
        about = {"schedule": plan.name, "tick": tick}
        match taken.what:
            case "fired" | "late":
                self.log.debug("tick_fired", jid=call.jid, **about)
            case "missed":
                self.log.info("tick_missed", reason=call.why, **about)
            case "skipped":
                self.log.info("tick_skipped", holder=taken.holder, **about)
            case "refused":
                why = f"{self._keys.queue(call.queue)} is not a list"
                self._hold(call.schedule, BROKEN, "tick_held", plan.name, why)
            case "unusable":
                why = f"keys of {call.schedule} or of all schedules have another type"
                self._hold(call.schedule, BROKEN, "schedule_unusable", plan.name, why)
            case _:
                pass  # another keeper was faster, or it is too early by a moment


def _call(made: Entry, step: Step, now: float) -> TickCall:
    job = None if step.missed else entry.job_of(made, step.tick, now)
    if not math.isfinite(step.then):
        raise ValueError(f"its next tick would be {step.then}")
    return TickCall(made.id, step.tick, step.then, made.queue, job, step.missed)
