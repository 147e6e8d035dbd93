"""What runs now: the jobs of all threads, the longest running first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from jobctl.daemon.display import duration
from jobctl.data.words import arguments, name_of
from jobctl.top import acting
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.views.job import JobView
from jobctl.top.views.listing import ListView
from jobctl.top.views.stacks import StacksView
from jobd.api.entry import Api
from jobd.api.find import WORK, Found
from jobd.api.work import Work
from jobd.wire.progress import Progress

MOST = 1_000
"""Processes that are looked at."""

_ROWS = 500
"""Jobs that are shown; those that run longest."""

_ARGUMENTS = 120


@dataclass(frozen=True, slots=True)
class Running:
    """What runs: the first of it, and how much there is."""

    works: list[Work]
    size: int


class BusyView(ListView[Running]):
    """The page."""

    every: ClassVar[float] = 5.0

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "stacks", "Stacks"),
        Binding("X", "cancel", "Cancel"),
    ]

    def __init__(self, source: Source) -> None:
        columns = [
            Column("SINCE", 8, right=True),
            Column("CLASS", 12, share=3),
            Column("ARGUMENTS", 8, share=3, drop=2),
            Column("QUEUE", 8, share=1, drop=3),
            Column("PROGRESS", 9, drop=4),
            Column("PROCESS", 12, share=1, drop=1),
        ]
        super().__init__(source, "Busy", columns)

    def reading(self) -> Callable[[Api], Running]:
        return _read

    def head(self, found: Running) -> str:
        if not found.size:
            return "Busy: nothing runs"
        more = f", the {_ROWS} that run longest" if found.size > _ROWS else ""
        return f"Busy: {found.size:,} running{more}"

    def rows(self, found: Running) -> list[Row]:
        now = time.time()
        return [_row(work, now) for work in found.works]

    def details(self, row: Row) -> None:
        self.open(JobView(self.source, Found(WORK, row.subject.job)))

    def action_stacks(self) -> None:
        """Show what the thread of the job is doing."""
        if (row := self.table.current) is not None:
            self.begin(self._stacks(row.subject))

    async def _stacks(self, work: Work) -> None:
        try:
            process = await self.source.act(lambda api: api.processes[work.process])
        except KeyError:
            self.complain(f"{work.process} is gone")
            return
        self.open(StacksView(self.source, process, work.job.jid))

    def action_cancel(self) -> None:
        if (row := self.table.current) is not None:
            self.begin(acting.cancel(self, row.subject.job))


def _read(api: Api) -> Running:
    works = api.work.all(MOST)
    return Running(works[:_ROWS], len(works))


def _row(work: Work, now: float) -> Row:
    stalled = work.stalled(now)
    return Row(
        f"{work.process} {work.thread} {work.job.jid}",
        [
            (duration(max(0.0, now - work.run_at)), "red" if stalled else ""),
            name_of(work.job),
            arguments(work.job, _ARGUMENTS),
            work.queue,
            "" if work.progress is None else _progress(work.progress),
            ":".join(work.process.split(":")[:2]),
        ],
        work,
    )


def _progress(seen: Progress) -> str:
    fraction = seen.fraction
    return f"{seen.done:g}" if fraction is None else f"{100 * fraction:.0f} %"
