"""Progress messages of jobctl on standard error; results are written to standard output."""

from __future__ import annotations

import click

from jobctl.daemon.answers import Reply
from jobd.text.printable import paragraph


def say(text: str) -> None:
    """Print a message."""
    click.echo(f"jobctl: {paragraph(text)}", err=True)


class Progress:
    """Prints what *command* is waiting for whenever that changes."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._last = ""

    def show(self, answer: Reply) -> None:
        """Handle an answer of the master, of any type."""
        text = answer.text
        if answer.type != "waiting" or text == self._last:
            return
        self._last = text
        most = f" (for {answer.seconds:.0f} s at most)" if answer.seconds > 0 else ""
        say(f"{self._command}: waiting for {text}{most}")
