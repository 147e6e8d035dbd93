"""Exit codes of jobctl, and the exception that carries one."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Exit codes, as in the Linux Standard Base for init scripts where it defines them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    PARTIAL = 4
    TIMED_OUT = 5
    REFUSED = 6
    # Of `jobctl status --check`.
    DEGRADED = 7
    NO_REDIS = 8
    NOT_SERVING = 9
    TROUBLE = 10


class Problem(Exception):
    """A command has failed: a message for the user, and an exit code for scripts."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class Silence(Problem):
    """The master has accepted a request but not reported its result in time: it has gone silent, or
    the time limit is *over*."""

    def __init__(self, text: str, *, over: bool) -> None:
        super().__init__(Code.TIMED_OUT, text)
        self.over = over


class NotRunning(Problem):
    """The daemon is not running."""

    def __init__(self, text: str) -> None:
        super().__init__(Code.NOT_RUNNING, text)
