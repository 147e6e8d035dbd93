"""A list that may be long, the newest first, of which one page is read at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType

from jobctl.top.table import Row
from jobctl.top.views.listing import ListView
from jobd.api.entry import Api
from jobd.api.reading import Page

T = TypeVar("T")

PAGE = 100
"""Rows of a page."""


class PagedView(ListView[Page[T]]):
    """The list.

    Attributes:
        number: of the page that is shown, from 0.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "turn(1)", "Next page", show=False),
        Binding("h", "turn(-1)", "Page before", show=False),
    ]

    number = 0

    @abstractmethod
    def page(self, api: Api, start: int) -> Page[T]:
        """The rows from that one on."""

    @abstractmethod
    def row(self, one: T) -> Row:
        """One of them."""

    def reading(self) -> Callable[[Api], Page[T]]:
        start = self.number * PAGE
        return lambda api: self.page(api, start)

    def show(self, found: Page[T]) -> None:
        if not len(found) and self.number:  # what was there has gone
            self.action_turn(-1)
        super().show(found)

    def rows(self, found: Page[T]) -> list[Row]:
        return [self.row(one) for one in found]

    def head(self, found: Page[T]) -> str:
        if not found.size:
            return f"{self.title}: none"
        return (
            f"{self.title}: {found.start + 1:,} to {found.start + len(found):,} of {found.size:,}"
        )

    def action_turn(self, pages: int) -> None:
        """The next page, or the one before."""
        size = 0 if self._found is None else self._found.size
        if 0 <= (self.number + pages) * PAGE < max(1, size):
            self.number += pages
            self.table.move_cursor(row=0, animate=False)
            self.look_again()
