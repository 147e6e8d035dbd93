"""A list of jobs that wait, of a set or of a queue: pages, a search, marks, and actions."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Static

from jobctl.data.filters import Filters
from jobctl.top.searching import HINT, filters_of
from jobctl.top.source import Source
from jobctl.top.table import Column, Row, Table
from jobctl.top.view import View
from jobctl.top.views.job import JobView
from jobd.api.entry import Api
from jobd.api.find import Found
from jobd.api.reading import Page
from jobd.api.records import JobRecord
from jobd.api.search.scans import Scan
from jobd.errors import ArgumentError, JobdError
from jobd.text.printable import shown

J = TypeVar("J", bound=JobRecord)

PAGE = 100
"""Jobs of a page."""

_FOUND = 200
"""Jobs after which a search waits for ``l``."""

_EVERY = 0.3
"""Seconds between two looks at what a search has found so far."""


class JobsView(View[Page[J]], Generic[J]):
    """The list.

    Args:
        columns: of the table.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("space,x", "mark", "Mark", key_display="x"),
        Binding("A", "all", "All"),
        Binding("l", "turn(1)", "Next page", show=False),
        Binding("h", "turn(-1)", "Page before", show=False),
    ]

    def __init__(self, source: Source, title: str, columns: Sequence[Column]) -> None:
        super().__init__(source, title)
        self._columns = columns
        self.start = self.total = 0
        self.chosen = Filters()
        self.everything = False
        self._line = ""
        self._found: list[J] = []
        self._scan: Scan[J] | None = None

    # -- what subclasses say ---------------------------------------------------------------------

    @abstractmethod
    def page(self, api: Api, start: int) -> Page[J]:
        """A page of the list."""

    @abstractmethod
    def scan(self, api: Api, chosen: Filters) -> Scan[J]:
        """A search through it."""

    @abstractmethod
    def row(self, job: J) -> Row:
        """A job in the table."""

    @abstractmethod
    def found(self, job: J) -> Found:
        """A job with its place."""

    # -- looking ---------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield Static("", classes="title")
        yield Table(self._columns, marks=True)

    @property
    def table(self) -> Table:
        return self.query_one(Table)

    def reading(self) -> Callable[[Api], Page[J]] | None:
        start = self.start
        return None if self.chosen else lambda api: self.page(api, start)

    def show(self, found: Page[J]) -> None:
        if self.chosen:  # somebody has begun to search meanwhile
            return
        self.total = found.size
        if not len(found) and self.start:
            self.start = max(0, (found.size - 1) // PAGE * PAGE)
            self.look_again()
        self.table.fill([self.row(job) for job in found])
        self._head()

    def _head(self) -> None:
        many = len(self.table.shown_rows)
        if self.chosen:
            scan = self._scan
            state = "" if scan is None or scan.done else ", l goes on"
            looked = 0 if scan is None else scan.scanned
            text = f"{self.title} /{self._line}: {many:,} found in {looked:,}{state}; esc: all"
        elif not self.total:
            text = f"{self.title}: no jobs"
        else:
            end = self.start + many
            text = f"{self.title}: {self.start + 1:,} to {end:,} of {self.total:,}"
        if self.everything:
            text += f" - ALL {'that fit' if self.chosen else f'{self.total:,}'} marked"
        elif self.table.marked:
            text += f" - {len(self.table.marked):,} marked"
        self.query_one(".title", Static).update(Text(shown(text), "bold", no_wrap=True))

    # -- keys ------------------------------------------------------------------------------------

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if (row := self.table.current) is not None:
            self.open(JobView(self.source, self.found(row.subject)))

    def action_mark(self) -> None:
        self.everything = False
        self.table.toggle_mark()
        self._head()

    def action_all(self) -> None:
        """Mark the jobs of this page; then all there are, or that fit; then none."""
        if self.everything:
            self.everything, self.table.marked = False, set()
            self.table.fill(self.table.shown_rows)
        elif self.table.marked and len(self.table.marked) == len(self.table.shown_rows):
            self.everything = True
        else:
            self.table.mark_all()
        self._head()

    def action_turn(self, pages: int) -> None:
        """The next page, or the one before; of a search what it finds next."""
        if self.chosen:
            if pages > 0 and self._scan is not None and not self._scan.done:
                self._found = []
                self.run_worker(self._searching(self._scan), group="search", exclusive=True)
            return
        start = max(0, self.start + pages * PAGE)
        if start != self.start and start < max(1, self.total):
            self.start, self.table.marked = start, set()
            self.table.move_cursor(row=0, animate=False)
            self.look_again()

    def back(self) -> bool:
        """End the search."""
        if not self.chosen:
            return False
        self.workers.cancel_group(self, "search")
        self._begin("", Filters())
        self.look_again()
        return True

    def action_search(self) -> None:
        self.begin(self._search())

    async def _search(self) -> None:
        line = await self.prompt(f"Search {self.title}", self._line, HINT)
        if line is None:
            return
        chosen = filters_of(line)
        self.find(line, chosen)

    def find(self, line: str, chosen: Filters) -> None:
        """Show only what fits, as it is found."""
        self.workers.cancel_group(self, "search")
        self._begin(line, chosen)
        if not chosen:
            self.look_again()
            return
        self._scan = self.scan(self.source.api, chosen)
        self.run_worker(self._searching(self._scan), group="search", exclusive=True)

    def again(self) -> None:
        """Search once more, if this is a search."""
        if self.chosen:
            self.find(self._line, self.chosen)

    def _begin(self, line: str, chosen: Filters) -> None:
        self._line, self.chosen, self._scan, self._found = line, chosen, None, []
        self.everything, self.start, self.table.marked = False, 0, set()
        self.table.fill([])
        self._head()

    async def _searching(self, scan: Scan[J]) -> None:
        shown_at = 0.0
        try:
            while not scan.done and len(self._found) < _FOUND:
                self._found += await self.source.act(lambda _: scan.next())
                if time.monotonic() - shown_at > _EVERY:
                    self._show_found()
                    shown_at = time.monotonic()
        except (JobdError, ArgumentError) as error:
            self.complain(str(error))
        self._show_found()

    def _show_found(self) -> None:
        self.table.fill([self.row(job) for job in self._found])
        self._head()

    # -- acting ----------------------------------------------------------------------------------

    def jobs(self) -> list[J]:
        """The marked jobs, or the one under the cursor."""
        return [row.subject for row in self.table.chosen()]

    def start_acting(self, work: Coroutine[object, None, bool]) -> None:
        """Act, and show what is left."""
        self.begin(self._acted(work))

    async def _acted(self, work: Coroutine[object, None, bool]) -> None:
        if await work:
            self.everything, self.table.marked = False, set()
            self.again()
