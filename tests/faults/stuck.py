"""``jobd`` with a master that can be made to hang, as an error in its loop would.

``python -m tests.faults.stuck run ...``: once there is a file ``hang`` in its working directory,
the master calls C code that neither ends nor lets go of the interpreter.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobd.cli import main as cli
from jobd.runtime.process.sdnotify import Notifier
from tests.support.daemon import Daemon


class Stuckable(Daemon):
    """A daemon that can be told to hang."""

    def command(self, verb: str, *flags: str) -> list[str]:
        return [
            "tests.faults.stuck" if part == "jobd" else part
            for part in super().command(verb, *flags)
        ]

    def hang(self) -> None:
        """Have the master hang at the next turn of its loop, within a second or so."""
        (self.directory / "hang").touch()


def _main() -> int:
    turn = Notifier.turn

    def stick(self: Notifier, status: str) -> None:
        if Path("hang").exists():
            sum(range(10**15))
        turn(self, status)

    Notifier.turn = stick  # type: ignore[method-assign]
    return cli.main()


if __name__ == "__main__":
    sys.exit(_main())
