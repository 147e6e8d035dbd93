"""A page that is one table of all there is, with a filter for its rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Static

from jobctl.top.source import Source
from jobctl.top.table import Column, Row, Table
from jobctl.top.view import View
from jobd.text.printable import shown

T = TypeVar("T")


class ListView(View[T]):
    """The page.

    Args:
        columns: of the table.
        marks: whether rows can be marked.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("space,x", "mark", "Mark", key_display="x"),
        Binding("A", "all", "All"),
    ]

    def __init__(
        self, source: Source, title: str, columns: Sequence[Column], *, marks: bool = False
    ) -> None:
        super().__init__(source, title)
        self._columns, self._marks = columns, marks
        self._found: T | None = None
        self._words = ""

    @abstractmethod
    def rows(self, found: T) -> list[Row]:
        """What was read as rows."""

    @abstractmethod
    def head(self, found: T) -> str:
        """The line above the table."""

    def details(self, row: Row) -> None:
        """Show what a row stands for."""

    def compose(self) -> ComposeResult:
        yield Static("", classes="title")
        yield Table(self._columns, marks=self._marks)

    @property
    def table(self) -> Table:
        return self.query_one(Table)

    def check_action(
        self,
        action: str,
        parameters: tuple[object, ...],  # noqa: ARG002 - as Textual calls it
    ) -> bool | None:
        return self._marks or action not in ("mark", "all")

    def show(self, found: T) -> None:
        self._found = found
        self._show(found)

    def _show(self, found: T) -> None:
        rows, head = self.rows(found), self.head(found)
        if self._words:
            rows = [row for row in rows if self._words in _text(row)]
            head += f" - {len(rows):,} with /{self._words}; esc: all"
        if self._marks and self.table.marked:
            head += f" - {len(self.table.marked):,} marked"
        self.table.fill(rows)
        self.query_one(".title", Static).update(Text(shown(head), "bold", no_wrap=True))

    def refill(self) -> None:
        """Show again what was read last."""
        if self._found is not None:
            self._show(self._found)

    def back(self) -> bool:
        """End the filter."""
        had, self._words = bool(self._words), ""
        self.refill()
        return had

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if (row := self.table.current) is not None:
            self.details(row)

    def action_mark(self) -> None:
        self.table.toggle_mark()
        self.refill()

    def action_all(self) -> None:
        self.table.mark_all()
        self.refill()

    def action_filter(self) -> None:
        self.begin(self._filter())

    async def _filter(self) -> None:
        words = await self.prompt(f"{self.title} with", self._words, "text in any column")
        if words is not None:
            self._words = words.lower()
            self.refill()


def _text(row: Row) -> str:
    return " ".join(cell[0] if isinstance(cell, tuple) else cell for cell in row.cells).lower()
