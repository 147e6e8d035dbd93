"""A table whose rows are kept up to date: only cells that have changed are written again.

The columns fit the width of the screen by themselves; where it is too narrow for all of them, those
go first that tell least. Whatever stands in a cell passes through
:func:`jobd.text.printable.shown`, and is never read as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from jobctl.data.output import MOST, fitted, wide
from jobd.text.printable import shown

_LEAST = 8
"""Columns that a column keeps which shares the rest of the width."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        width: of its cells; of one with a *share* the least.
        share: of the width that the others leave, 0 for none.
        right: whether its cells are numbers.
        drop: columns with higher numbers go first where the screen is narrow; 0 stays.
    """

    name: str
    width: int = _LEAST
    share: int = 0
    right: bool = False
    drop: int = 0


class Row(NamedTuple):
    """A row.

    Attributes:
        key: by which it is known again.
        cells: texts, each with a style behind it if it has one: ``("paused", "yellow")``.
        subject: what it stands for.
    """

    key: str
    cells: Sequence[str | tuple[str, str]]
    subject: Any = None


class Table(DataTable[Text]):
    """The table.

    Args:
        columns: of each row, in this order.
        marks: whether rows can be marked.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("g", "scroll_top", show=False),
        Binding("G", "scroll_bottom", show=False),
    ]

    def __init__(self, columns: Sequence[Column], *, marks: bool = False) -> None:
        super().__init__(cursor_type="row", cell_padding=0, zebra_stripes=False)
        self._wanted = [Column("", 1), *columns] if marks else list(columns)
        self._marks = marks
        self._fitting: list[tuple[int, int]] = []
        self._rows: list[Row] = []
        self._texts: list[list[Text]] = []
        self.marked: set[str] = set()

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self.cursor_row] if 0 <= self.cursor_row < len(self._rows) else None

    @property
    def shown_rows(self) -> Sequence[Row]:
        """The rows as they are shown."""
        return self._rows

    def chosen(self) -> list[Row]:
        """The marked rows, or else the one under the cursor."""
        if self.marked:
            return [row for row in self._rows if row.key in self.marked]
        return [self.current] if self.current is not None else []

    def on_resize(self, event: events.Resize) -> None:
        self._fit(event.size.width)

    def fill(self, rows: Sequence[Row]) -> None:
        """Show these rows. The cursor stays on its row, wherever that is now."""
        before = self.current
        self._rows = list(rows)
        if self.marked:
            self.marked &= {row.key for row in rows}
        if not self._fitting:  # nobody knows yet how wide it is
            return
        with self.app.batch_update():
            self._write()
            if before is not None:
                self._find(before.key)

    def toggle_mark(self) -> None:
        """Mark the row under the cursor, or not any more, and go on to the next one."""
        if self.current is None:
            return
        self.marked ^= {self.current.key}
        self.fill(self._rows)
        self.action_cursor_down()

    def mark_all(self) -> None:
        """Mark all rows, or none if all are."""
        keys = {row.key for row in self._rows}
        self.marked = set() if self.marked >= keys else keys
        self.fill(self._rows)

    def _find(self, key: str) -> None:
        at = next((at for at, row in enumerate(self._rows) if row.key == key), None)
        if at is not None and at != self.cursor_row:
            self.move_cursor(row=at, animate=False)

    def _fit(self, width: int) -> None:
        fitting = fit(self._wanted, width)
        if fitting == self._fitting:
            return
        row, self._fitting, self._texts = self.cursor_row, fitting, []
        with self.app.batch_update():
            self.clear(columns=True)
            for at, size in fitting:
                column = self._wanted[at]
                label = _padded(column.name, size, column.right)
                self.add_column(Text(f"{label} ", "bold"), width=size + 1, key=str(at))
            self._write()
            self.move_cursor(row=row, animate=False)

    def _write(self) -> None:
        for at, row in enumerate(self._rows):
            texts = self._line(row)
            if at >= len(self._texts):
                self.add_row(*texts, key=str(at))
                self._texts.append(texts)
                continue
            for place, (old, new) in enumerate(zip(self._texts[at], texts, strict=True)):
                if old != new or old.style != new.style:
                    self.update_cell(str(at), str(self._fitting[place][0]), new)
            self._texts[at] = texts
        while len(self._texts) > len(self._rows):
            self._texts.pop()
            self.remove_row(str(len(self._texts)))

    def _line(self, row: Row) -> list[Text]:
        cells = row.cells
        if self._marks:
            cells = [("*", "bold") if row.key in self.marked else "", *cells]
        texts = []
        for at, size in self._fitting:
            cell = cells[at]
            text, style = cell if isinstance(cell, tuple) else (cell, "")
            text = fitted(shown(text[: MOST + 1]), size)
            padded = _padded(text, size, self._wanted[at].right)
            texts.append(Text(padded, style, no_wrap=True, end=""))
        return texts


def fit(wanted: Sequence[Column], width: int) -> list[tuple[int, int]]:
    """The columns that are shown, by their numbers, and their widths.

    >>> wide_and_narrow = [Column("A", 10, share=1), Column("B", 5), Column("C", 20, drop=1)]
    >>> fit(wide_and_narrow, 40), fit(wide_and_narrow, 30)
    ([(0, 12), (1, 5), (2, 20)], [(0, 23), (1, 5)])
    """
    kept = list(range(len(wanted)))

    def needed() -> int:
        return sum(wanted[at].width + 1 for at in kept)

    while needed() > width and (most := max(wanted[at].drop for at in kept)) > 0:
        kept = [at for at in kept if wanted[at].drop < most]
    rest = width - needed()
    shares = sum(wanted[at].share for at in kept)
    found = []
    for at in kept:
        more = rest * wanted[at].share // shares if shares and rest > 0 else 0
        found.append((at, max(1, min(wanted[at].width + more, width - 1))))
    return found


def _padded(text: str, size: int, right: bool) -> str:
    text = fitted(text, size)
    space = " " * (size - wide(text))
    return space + text if right else text + space
