"""What lies over a page: a question, a line to type, the progress of something long, the help."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from jobd.text.printable import shown


class Ask(ModalScreen[bool]):
    """A question before something that cannot simply be taken back; only ``y`` is a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)"),
        Binding("n,escape,enter,q", "answer(False)"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(shown(self._question)), id="question")
            yield Static(Text("y yes   n no", "bold"))

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class Prompt(ModalScreen[str | None]):
    """A line to type; None if it is left with escape.

    Args:
        label: what is asked for.
        text: what stands there already.
        hint: what may be typed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave")]

    def __init__(self, label: str, text: str = "", hint: str = "") -> None:
        super().__init__()
        self._label, self._text, self._hint = label, text, hint

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(shown(self._label), "bold"))
            yield Input(self._text, compact=True)
            yield Static(Text(self._hint, "dim"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        self.dismiss(None)


class Working(ModalScreen[None]):
    """Something long that goes on in steps, and can be stopped between two of them.

    Attributes:
        stopped: somebody wants that.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "stop")]

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what, self._state = what, "nothing so far"
        self.stopped = False

    @property
    def told(self) -> str:
        """What has been done so far, for whoever ends the program meanwhile."""
        text = f"Not finished: {self._what}: {self._state}. The last step may be done, too."
        return shown(text)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(shown(self._what), "bold"))
            yield Static("", id="progress")
            yield Static(Text("esc stops between two steps", "dim"), id="stop")

    def progress(self, scanned: int, total: int, changed: int) -> None:
        """Show how far it is."""
        share = f" of {total:,} ({min(100, 100 * scanned // total)} %)" if total else ""
        self._state = f"{scanned:,}{share}, {changed:,} so far"
        self.query_one("#progress", Static).update(Text(self._state))

    def action_stop(self) -> None:
        self.stopped = True
        self.query_one("#stop", Static).update(Text("stops after this step"))


class Help(ModalScreen[None]):
    """The keys of this page and of all pages.

    Args:
        sections: headings, and below each the keys with what they do.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "leave"),
        Binding("j", "scroll(1)"),
        Binding("k", "scroll(-1)"),
    ]

    def __init__(self, sections: list[tuple[str, list[tuple[str, str]]]]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> ComposeResult:
        text = Text()
        for heading, keys in self._sections:
            text.append(f"{heading}\n", "bold")
            for key, what in keys:
                text.append(f"  {key:<10}", "cyan").append(f" {what}\n")
            text.append("\n")
        text.append("esc closes this help", "dim")
        with VerticalScroll(classes="dialog tall"):
            yield Static(text)

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
