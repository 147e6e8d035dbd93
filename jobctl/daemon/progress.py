"""Progress messages of a command that waits for the daemon, on standard error."""

from __future__ import annotations

from jobctl.daemon.answers import Reply
from jobctl.say import say


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
