"""``jobd dev``: runs the daemon, and reloads it whenever its code is saved.

watchfiles tells what was saved. It adds a native thread to the process that uses it, which Python
does not list and a fork would leave behind, so the daemon is executed as a child.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

import click

from jobd.dev.session import TURN_MS, Options, Session
from jobd.errors import Exit, UnavailableError
from jobd.text.printable import shown

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Ending:
    """Counts the signals that ask for the end. The watcher asks whether it ``is_set``."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def is_set(self) -> bool:
        return self.count > 0


def develop(options: Options) -> int:
    """Run a session until a signal ends it.

    Raises:
        UnavailableError: watchfiles or a server is not installed.
        ConfigError, ApplicationError: the settings are invalid, or cannot be imported.
    """
    try:
        from watchfiles import PythonFilter, watch
    except ModuleNotFoundError:
        raise UnavailableError(
            "jobd dev needs the package watchfiles: run pip install 'pyjobd[dev]'"
        ) from None
    ending = _Ending()
    for number in _ENDINGS:
        signal.signal(number, ending)
    with Session(options, _say, lambda: ending.count) as session:
        started = False
        while not ending.is_set():
            for changed in watch(
                *session.watched,
                watch_filter=PythonFilter(),
                rust_timeout=TURN_MS,
                yield_on_timeout=True,
                stop_event=ending,  # it asks for is_set only
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                if not started:
                    # Not before: what is saved while it starts must be seen.
                    session.start()
                    started = True
                if not session.turn(path for _, path in changed):
                    break
        _say("stopping")
    _say("stopped; nothing is left behind")
    return Exit.OK


def _say(text: str) -> None:
    for line in text.splitlines():
        click.echo(f"jobd dev  {shown(line)}", file=sys.stderr)
