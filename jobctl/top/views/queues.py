"""The queues: what waits in them, and pausing, clearing and moving them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from jobctl.daemon.display import duration
from jobctl.data.filters import Filters
from jobctl.top import acting
from jobctl.top.charts import bar
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.views.listing import ListView
from jobctl.top.views.queued import QueueView
from jobd.api.actions import NOTHING, QUEUE_ACTIONS
from jobd.api.entry import Api
from jobd.api.queues.queues import QueueSummary
from jobd.text.counting import counted

MOST = 1_000
"""Queues that are looked at."""

_BAR = 12


class QueuesView(ListView[list[QueueSummary]]):
    """The page."""

    every: ClassVar[float] = 3.0

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause/resume"),
        Binding("C", "clear", "Clear"),
        Binding("M", "move", "Move"),
    ]

    def __init__(self, source: Source) -> None:
        columns = [
            Column("QUEUE", 12, share=3),
            Column("JOBS", 11, right=True),
            Column("", _BAR, drop=1),
            Column("WAITS", 8, right=True),
            Column("", 7),
        ]
        super().__init__(source, "Queues", columns)

    def reading(self) -> Callable[[Api], list[QueueSummary]]:
        return lambda api: api.queues(MOST)

    def head(self, found: list[QueueSummary]) -> str:
        if not found:
            return "Queues: none"
        jobs = counted(sum(one.size for one in found), "job")
        paused = sum(one.paused for one in found)
        return f"Queues: {len(found):,}, {jobs}" + (f", {paused} paused" if paused else "")

    def rows(self, found: list[QueueSummary]) -> list[Row]:
        most = max((one.size for one in found), default=0)
        return [
            Row(
                one.name,
                [
                    one.name,
                    f"{one.size:,}",
                    bar(one.size, most, _BAR),
                    duration(one.latency) if one.size else "",
                    ("paused", "yellow") if one.paused else "",
                ],
                one,
            )
            for one in found
        ]

    def details(self, row: Row) -> None:
        self.open(QueueView(self.source, row.subject.name))

    @property
    def _current(self) -> QueueSummary | None:
        row = self.table.current
        return None if row is None else row.subject

    def action_pause(self) -> None:
        if (queue := self._current) is not None:
            self.begin(self._switch("resume" if queue.paused else "pause", queue.name))

    async def _switch(self, name: str, queue: str) -> None:
        action = QUEUE_ACTIONS[name]
        await self.source.act(lambda api: action.do(api.queue(queue), NOTHING))
        self.say(str(action.done(1, queue)))

    def action_clear(self) -> None:
        self._whole("clear")

    def action_move(self) -> None:
        self._whole("move")

    def _whole(self, name: str) -> None:
        if (queue := self._current) is not None:
            self.begin(acting.on_queue(self, name, queue.name, Filters(), queue.size))
