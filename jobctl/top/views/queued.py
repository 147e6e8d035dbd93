"""The jobs that wait in one queue."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import ClassVar

from textual.binding import Binding, BindingType

from jobctl.data.filters import Filters
from jobctl.data.words import ago, arguments, name_of
from jobctl.top import acting
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.views.jobs import PAGE, JobsView
from jobd.api.entry import Api
from jobd.api.find import Found
from jobd.api.reading import Page
from jobd.api.records import JobRecord
from jobd.api.search.scans import Scan

_ARGUMENTS = 120


class QueueView(JobsView[JobRecord]):
    """The list, the next to run first.

    Args:
        queue: its name.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("D", "act('delete')", "Delete"),
        Binding("M", "act('move')", "Move"),
    ]

    def __init__(self, source: Source, queue: str) -> None:
        columns = [
            Column("#", 8, right=True, drop=2),
            Column("CLASS", 20, share=2),
            Column("ARGUMENTS", 10, share=3),
            Column("ENQUEUED", 12, right=True, drop=1),
            Column("JID", 24, drop=3),
        ]
        super().__init__(source, f"Queue {queue}", columns)
        self.queue = queue

    def page(self, api: Api, start: int) -> Page[JobRecord]:
        return api.queue(self.queue).page(start, PAGE)

    def scan(self, api: Api, chosen: Filters) -> Scan[JobRecord]:
        return api.queue(self.queue).scan(chosen.text, chosen.test())

    def row(self, job: JobRecord) -> Row:
        cells = [
            f"{(job.before or 0) + 1:,}",
            name_of(job),
            arguments(job, _ARGUMENTS),
            ago(job.enqueued_at or job.created_at),
            job.jid,
        ]
        return Row(job.digest, cells, job)

    def found(self, job: JobRecord) -> Found:
        return Found(f"queue:{self.queue}", job)

    def action_act(self, name: str) -> None:
        """Do it to what is marked."""
        work: Coroutine[object, None, bool]
        if self.everything:
            kind = "clear" if name == "delete" else "move"
            if kind == "move" and self.chosen:
                self.complain("a whole queue is moved, or the jobs that are marked one by one")
                return
            work = acting.on_queue(self, kind, self.queue, self.chosen, self.total)
        elif jobs := self.jobs():
            work = acting.on_queued(self, self.queue, name, jobs)
        else:
            return
        self.start_acting(work)
