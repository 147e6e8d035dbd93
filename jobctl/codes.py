"""Exit codes of jobctl, and the exception that carries one."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Exit codes, as in the Linux Standard Base for init scripts where it defines them."""

    DONE = 0
    """Success. `stop` succeeds if the daemon is not running."""
    FAILED = 1
    """Failed; the reason is on standard error: a job that is not there, or has not ended well
    (`wait`); an answer that was no. `doctor`: there are errors. `chaos`: a job was lost. Also if
    the listening process does not answer like a master, if the daemon has no pidfile and so cannot
    be reached, or if the new workers of a `reload --wait` did not become ready: the old ones
    stay."""
    USAGE = 2
    """The command line or the configuration is wrong."""
    NOT_RUNNING = 3
    """Not running."""
    PARTIAL = 4
    """No permission, also in Redis; or partial success: `threads` got no answer from some process
    and shows raw stacks; `quiet`, `reload` and `reopen-logs` got no answer from the master and have
    sent it a signal instead; `reload --wait` of a quiet daemon, which replaces its workers on
    resume; `stop` succeeded but left jobs to be recovered."""
    TIMED_OUT = 5
    """Timed out: the master did not answer within 3 seconds, did not complete an accepted
    request within 30 (a stop and `reload --wait` may take a day, or their `--timeout`, but the
    master must report every 30 seconds what it waits for), did not exit, or its files could
    not be read within 10. The request may still be in progress."""
    REFUSED = 6
    """Refused: the pidfile is locked by something other than the jobd master that wrote it; or
    root refused a [path that others can change](operations.md#jobctl-as-root). Nothing was
    signalled. `chaos`: the server is not [fit for it](doctor.md#prove-it-on-your-server)."""
    # Of `jobctl status --check`.
    DEGRADED = 7
    """`status --check`: a crash loop (`DEGRADED`)."""
    NO_REDIS = 8
    """Redis does not answer, or refuses. `status --check`: it is unavailable to some process."""
    NOT_SERVING = 9
    """`status --check`: no jobs are taken: the daemon is starting, stopping or quiet, or no
    worker is ready."""
    TROUBLE = 10
    """`status --check`: another problem: a process has crashed and is not replaced yet, does
    not react, was quieted individually or has a stuck job; the last reload failed; Redis is
    nearly full; log records are lost; jobs of a dead worker are not recovered yet. `doctor`:
    there are warnings, and no errors."""
    INTERRUPTED = 130
    """Interrupted (Ctrl-C). A request to a daemon stays in progress; an action on jobs says how
    many it has done, and leaves the others."""


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
