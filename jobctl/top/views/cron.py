"""The periodic jobs: when they are due, what became of their ticks; pausing and running them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from jobctl.data.words import ago, moment
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.views.listing import ListView
from jobctl.top.views.text import TextView, facts
from jobd.api.actions import NOTHING
from jobd.api.entry import Api
from jobd.api.features.periodic import Lead, PeriodicJob
from jobd.api.features.schedule_actions import SCHEDULE_ACTIONS, UNCHANGED
from jobd.store.ticks import Record

_UPCOMING = 5


class CronView(ListView[list[PeriodicJob]]):
    """The page."""

    every: ClassVar[float] = 5.0

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause/resume"),
        Binding("R", "run", "Run now"),
    ]

    def __init__(self, source: Source) -> None:
        columns = [
            Column("NAME", 10, share=2),
            Column("DUE", 12, share=2, drop=1),
            Column("NEXT", 12, right=True),
            Column("LAST", 18, drop=2),
            Column("APPLICATION", 8, share=1, drop=3),
        ]
        super().__init__(source, "Periodic jobs", columns)

    def reading(self) -> Callable[[Api], list[PeriodicJob]]:
        return lambda api: api.periodic.all()

    def head(self, found: list[PeriodicJob]) -> str:
        paused = sum(one.next is None for one in found)
        return f"Periodic jobs: {len(found):,}" + (f", {paused} paused" if paused else "")

    def rows(self, found: list[PeriodicJob]) -> list[Row]:
        return [
            Row(
                one.id,
                [
                    one.name,
                    str(one.line),
                    ("paused", "yellow") if one.next is None else ago(one.next),
                    "" if one.last is None else f"{one.last.what} {ago(one.last.at)}",
                    one.entry.app,
                ],
                one,
            )
            for one in found
        ]

    def details(self, row: Row) -> None:
        self.open(ScheduleView(self.source, row.subject))

    @property
    def _current(self) -> PeriodicJob | None:
        row = self.table.current
        return None if row is None else row.subject

    def action_pause(self) -> None:
        if (one := self._current) is not None:
            self.begin(self._switch(one))

    async def _switch(self, one: PeriodicJob) -> None:
        name = "resume" if one.next is None else "pause"
        action = SCHEDULE_ACTIONS[name]
        done = await self.source.act(lambda api: action.do(api.periodic, one, NOTHING))
        self.say(str(action.done(1, one.name) if done else UNCHANGED[name].filled(name=one.name)))

    def action_run(self) -> None:
        if (one := self._current) is not None:
            self.begin(self._run(one))

    async def _run(self, one: PeriodicJob) -> None:
        action = SCHEDULE_ACTIONS["run"]
        if await self.ask(f"{action.summary} {action.button}: {one.name}?"):
            jid = await self.source.act(lambda api: action.do(api.periodic, one, NOTHING))
            self.say(f"{action.done(1, one.name)} {jid}")


@dataclass(frozen=True, slots=True)
class ScheduleLook:
    """What is read of one periodic job."""

    ticks: list[Record]
    lead: Lead


class ScheduleView(TextView[ScheduleLook]):
    """One periodic job."""

    every: ClassVar[float] = 5.0

    def __init__(self, source: Source, job: PeriodicJob) -> None:
        super().__init__(source, f"Periodic job {job.name}")
        self._job = job

    def reading(self) -> Callable[[Api], ScheduleLook]:
        job = self._job
        return lambda api: ScheduleLook(api.periodic.ticks(job), api.periodic.leader())

    def show(self, found: ScheduleLook) -> None:
        job, entry, text = self._job, self._job.entry, Text()
        rules = f"{entry.catch_up}, grace {entry.grace:g} s, jitter {entry.jitter:g} s"
        pairs = [
            ("due", f"{job.line}{', changed until the next deploy' if job.changed else ''}"),
            ("pushes", f"{entry.job} to {entry.queue}"),
            ("overlap", entry.overlap),
            ("catch-up", rules),
            ("application", entry.app),
            ("paused", moment(job.paused)),
            ("next", "\n".join(map(moment, job.upcoming(_UPCOMING)))),
            ("keeper", found.lead.holder),
        ]
        facts(pairs, text)
        text.append("\n")
        for tick in found.ticks:
            about = tick.why or tick.holder or tick.jid
            facts([(f"{tick.what:8}", f"{moment(tick.tick)} {about}")], text)
        self.write(text)
