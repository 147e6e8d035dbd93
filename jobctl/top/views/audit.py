"""The audit log: who has changed what, the last change first."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text

from jobctl.data.words import ago, moment
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.views.paged import PAGE, PagedView
from jobctl.top.views.text import TextView, facts
from jobd.api.audit import AuditEntry
from jobd.api.entry import Api
from jobd.api.reading import Page


class AuditView(PagedView[AuditEntry]):
    """The page. Pages of the log begin after an entry, not at a place."""

    every: ClassVar[float] = 3.0

    def __init__(self, source: Source) -> None:
        columns = [
            Column("WHEN", 11),
            Column("WHO", 10, share=1),
            Column("ACTION", 12, share=1),
            Column("TARGET", 12, share=2),
            Column("JOBS", 9, right=True),
        ]
        super().__init__(source, "Audit log", columns)
        self._before = [""]

    def reading(self) -> Callable[[Api], Page[AuditEntry]]:
        self.number = min(self.number, len(self._before) - 1)  # one after what was seen
        return super().reading()

    def page(self, api: Api, start: int) -> Page[AuditEntry]:
        audit = api.audit
        found = audit.page(PAGE, before=self._before[start // PAGE])
        return Page(tuple(found), start, audit.size)

    def show(self, found: Page[AuditEntry]) -> None:
        if len(found) and found.start == self.number * PAGE:
            self._before[self.number + 1 :] = [min(found, key=lambda one: one.place).id]
        super().show(found)

    def head(self, found: Page[AuditEntry]) -> str:
        number = f", page {self.number + 1}" if self.number else ""
        return f"{self.title}: {found.size:,} entries, the last change first{number}"

    def row(self, one: AuditEntry) -> Row:
        cells = [ago(one.at), one.who, one.action, one.target, f"{one.jobs:,}"]
        return Row(one.id, cells, one)

    def details(self, row: Row) -> None:
        self.open(EntryView(self.source, row.subject))


class EntryView(TextView[None]):
    """One entry, with all that the table cuts.

    Args:
        entry: which one.
    """

    def __init__(self, source: Source, entry: AuditEntry) -> None:
        super().__init__(source, f"Change {entry.ref}")
        self._entry = entry

    def on_mount(self) -> None:
        one, text = self._entry, Text()
        pairs = [
            ("when", moment(one.at)),
            ("who", one.who),
            ("action", one.action),
            ("target", one.target),
            ("jobs", f"{one.jobs:,}"),
            ("id", one.ref),
        ]
        facts(pairs, text)
        self.write(text)
