"""A page of text that is scrolled with the keys of lists."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from jobctl.data.output import LONGEST
from jobctl.top.view import View
from jobd.text.printable import cut, shown

T = TypeVar("T")

_LONGEST = 2_000
"""Characters of a line."""

_MOST = 3_000
"""Lines of a page."""


class TextView(View[T]):
    """The page; subclasses say what is read, and make the text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("g", "top", show=False),
    ]

    def compose(self) -> ComposeResult:
        yield Static(Text(shown(self.title), "bold", no_wrap=True), classes="title")
        with VerticalScroll(can_focus=True):
            yield Static("", id="text")

    def write(self, text: Text) -> None:
        """Show this text."""
        self.query_one("#text", Static).update(text)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_top(self) -> None:
        self.query_one(VerticalScroll).scroll_home(animate=False)


def block(text: str) -> Text:
    """A text of several lines that may hold anything, or the beginning of it."""
    lines = text[: _MOST * _LONGEST].split("\n")
    kept = [shown(line[:_LONGEST]) for line in lines[:_MOST]]
    if len(lines) > _MOST:
        kept.append(f"... {len(lines) - _MOST:,} more lines")
    return Text("\n".join(kept))


def facts(pairs: list[tuple[str, str]], into: Text) -> None:
    """Names and values below each other."""
    known = [(name, value) for name, value in pairs if value]
    widest = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        first, *rest = block(cut(value, LONGEST)).plain.split("\n")
        into.append(f"{name.ljust(widest)}  ", "dim").append(f"{first}\n")
        for line in rest:
            into.append(f"{' ' * widest}  {line}\n")
