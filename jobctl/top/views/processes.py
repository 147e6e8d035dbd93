"""The worker processes of all hosts: quieting and stopping them, and their stacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from jobctl.daemon.display import memory
from jobctl.data.words import ago
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.views.listing import ListView
from jobctl.top.views.stacks import StacksView
from jobd.api.actions import PROCESS_ACTIONS
from jobd.api.entry import Api
from jobd.api.processes import EMBEDDED, Process
from jobd.api.reasons import SILENT
from jobd.text.counting import counted

MOST = 1_000
"""Processes that are looked at."""


class ProcessesView(ListView[list[Process]]):
    """The page."""

    every: ClassVar[float] = 5.0

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "stacks", "Stacks"),
        Binding("Q", "act('quiet')", "Quiet"),
        Binding("T", "act('stop')", "Stop"),
    ]

    def __init__(self, source: Source) -> None:
        columns = [
            Column("PROCESS", 16, share=3),
            Column("STATE", 8),
            Column("BUSY", 7, right=True),
            Column("QUEUES", 8, share=3, drop=1),
            Column("MEMORY", 8, right=True, drop=2),
            Column("BEAT", 8, right=True, drop=3),
            Column("STARTED", 11, right=True, drop=4),
            Column("VERSION", 12, drop=5),
        ]
        super().__init__(source, "Processes", columns, marks=True)

    def reading(self) -> Callable[[Api], list[Process]]:
        return lambda api: api.processes.all(MOST)

    def head(self, found: list[Process]) -> str:
        busy, threads = sum(one.busy for one in found), sum(one.concurrency for one in found)
        hosts = len({one.hostname for one in found})
        many = f"{MOST:,} or more" if len(found) >= MOST else f"{len(found):,}"
        space = memory(sum(one.rss for one in found) * 1024)
        where = counted(hosts, "host")
        return f"Processes: {many} on {where}, {busy:,} of {threads:,} busy, {space}"

    def rows(self, found: list[Process]) -> list[Row]:
        now = time.time()
        return [_row(one, now) for one in found]

    def details(self, row: Row) -> None:
        self.open(StacksView(self.source, row.subject))

    def action_stacks(self) -> None:
        if (row := self.table.current) is not None:
            self.details(row)

    def action_act(self, name: str) -> None:
        """Quiet or stop what is marked."""
        chosen: list[Process] = [row.subject for row in self.table.chosen()]
        if meant := [one for one in chosen if not one.embedded]:
            self.begin(self._act(name, meant))
        elif chosen:
            self.complain(f"{chosen[0].identity} {EMBEDDED}")

    async def _act(self, name: str, meant: list[Process]) -> None:
        action = PROCESS_ACTIONS[name]
        what = meant[0].identity if len(meant) == 1 else counted(len(meant), "process", "processes")
        if not await self.ask(f"{action.effect} {action.button} {what}?"):
            return
        told = await self.source.act(
            lambda api: sum(int(action.do(api.processes, one)) for one in meant)
        )
        self.table.marked = set()
        self.say(str(action.done(told, meant[0].identity if len(meant) == 1 else "")))


def _row(one: Process, now: float) -> Row:
    silent = now - one.beat > SILENT
    return Row(
        one.identity,
        [
            one.identity,
            ("quiet", "yellow") if one.stopping else ("running", "green"),
            f"{one.busy:,}/{one.concurrency:,}",
            " ".join(one.queues),
            memory(one.rss * 1024),
            (ago(one.beat, now).removesuffix(" ago"), "red" if silent else ""),
            ago(one.started_at, now),
            f"{'jobd' if one.is_jobd else 'sidekiq'} {one.version}",
        ],
        one,
    )
