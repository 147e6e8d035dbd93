"""Exit codes of jobctl, and the exception that carries one."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """As the Linux Standard Base has them for init scripts, where it has them."""

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
    """What jobctl was asked for cannot be done: a sentence for the person, a code for scripts."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class Silence(Problem):
    """The master has taken a request, and has not said in time what came of it: it says nothing
    any more, or all the time for it is *over*."""

    def __init__(self, text: str, *, over: bool) -> None:
        super().__init__(Code.TIMED_OUT, text)
        self.over = over


class NotRunning(Problem):
    """There is no daemon."""

    def __init__(self, text: str) -> None:
        super().__init__(Code.NOT_RUNNING, text)
