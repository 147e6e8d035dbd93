"""The pages Retries, Scheduled and Dead."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from jobctl.data.filters import Filters
from jobctl.data.sets import Set
from jobctl.data.words import ago, arguments, error_of, name_of
from jobctl.top import acting
from jobctl.top.searching import filters_of
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.views.jobs import PAGE, JobsView
from jobd.api.entry import Api
from jobd.api.find import Found
from jobd.api.reading import Page
from jobd.api.search.scans import Scan
from jobd.api.sets.entries import SortedEntry

_ARGUMENTS = 120
"""Characters of the arguments of a job."""


class SetView(JobsView[SortedEntry]):
    """One of the sets.

    Args:
        of: which one.
        line: what is searched for at once.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("R", "act('retry')", "Retry"),
        Binding("K", "act('kill')", "Kill"),
        Binding("D", "act('delete')", "Delete"),
        Binding("S", "act('reschedule')", "Resched."),
    ]

    def __init__(self, source: Source, of: Set, line: str = "") -> None:
        super().__init__(source, of.name.capitalize(), _columns(of))
        self.of, self._first = of, line

    def entered(self) -> None:
        if self._first:
            line, self._first = self._first, ""
            self.find(line, filters_of(line))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "act" or parameters[0] in self.of.actions

    def page(self, api: Api, start: int) -> Page[SortedEntry]:
        return self.of.of(api).page(start, PAGE)

    def scan(self, api: Api, chosen: Filters) -> Scan[SortedEntry]:
        return self.of.of(api).scan(chosen.text, chosen.test())

    def row(self, job: SortedEntry) -> Row:
        cells: list[str | tuple[str, str]] = [
            ago(job.score),
            name_of(job),
            job.queue,
            arguments(job, _ARGUMENTS),
            (error_of(job), "red"),
        ]
        if self.of.name == "scheduled":
            cells[-1] = job.jid
        return Row(job.key, cells, job)

    def found(self, job: SortedEntry) -> Found:
        return Found(self.of.of(self.source.api).name, job)

    def action_act(self, name: str) -> None:
        """Do it to what is marked."""
        work: Coroutine[object, None, bool]
        if self.everything:
            work = acting.on_set(self, self.of, name, self.chosen, self.total)
        elif jobs := self.jobs():
            work = acting.on_entries(self, self.of, name, jobs)
        else:
            return
        self.start_acting(work)


def _columns(of: Set) -> Sequence[Column]:
    last = Column("JID", 24, drop=1) if of.name == "scheduled" else Column("ERROR", 18, share=5)
    return [
        Column(of.time, 11),
        Column("CLASS", 18, share=3),
        Column("QUEUE", 8, share=1, drop=3),
        Column("ARGUMENTS", 12, share=3, drop=2),
        last,
    ]
