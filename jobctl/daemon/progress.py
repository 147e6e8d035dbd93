"""What jobctl says to the person who waits, on standard error: standard output has the results."""

from __future__ import annotations

import click

from jobctl.daemon.answers import Reply
from jobd.text.printable import paragraph


def say(text: str) -> None:
    """One message."""
    click.echo(f"jobctl: {paragraph(text)}", err=True)


class Progress:
    """Says what *command* waits for, as often as that changes."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._last = ""

    def show(self, answer: Reply) -> None:
        """Take one answer of the master's, of any type."""
        text = answer.text
        if answer.type != "waiting" or text == self._last:
            return
        self._last = text
        most = f" (for {answer.seconds:.0f} s at most)" if answer.seconds > 0 else ""
        say(f"{self._command}: waiting for {text}{most}")
