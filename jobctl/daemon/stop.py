"""``jobctl stop``: sends a request to the master, and signals if it does not answer.

It always terminates: a healthy master reports every few seconds what it is waiting for; one that
does not is treated as hanging.
"""

from __future__ import annotations

from signal import Signals

from jobctl.codes import Code, Problem, Silence
from jobctl.daemon.answers import LONGEST, NoAnswer, Reply
from jobctl.daemon.pidfile import Daemon
from jobctl.daemon.progress import Progress
from jobd.master.control import messages

_BEYOND = 60.0  # s after the timeout, within which the daemon stops, or never will
_UNHEARD = 600.0  # s, limit for the timeout of a master that does not respond
_AFTER_QUIT = 15.0
_MARGIN = 5.0


class Stop:
    """A stop of a daemon.

    Args:
        timeout: seconds for running jobs to finish; None for the daemon's own setting.
        kill: whether to kill a daemon that does not stop.

    Attributes:
        returned: number of jobs that the daemon reports as returned to their queues.
    """

    def __init__(self, daemon: Daemon, timeout: float | None, *, kill: bool) -> None:
        self.returned = 0
        self._daemon = daemon
        self._timeout = timeout
        self._kill = kill

    def run(self) -> tuple[Code, str]:
        """Stop the daemon and wait until it has exited; returns the exit code and a message.

        Raises:
            Problem: it has not stopped.
        """
        try:
            last = self._ask()
        except (NoAnswer, Silence) as problem:
            last = None
            if not (isinstance(problem, Silence) and problem.over):
                self._signal()
        if last is not None and last.code:
            return Code.PARTIAL, last.text
        if self._daemon.process.wait(_MARGIN):
            return Code.DONE, ""
        return self._insist()

    def _ask(self) -> Reply | None:
        """The last answer of the master; None if it was interrupted.

        Raises:
            NoAnswer, Silence: the master does not respond.
            Problem: the master refuses.
        """
        answers = self._daemon.ask(messages.Stop(self._timeout), limit=LONGEST)
        progress = Progress("stop")
        last: Reply | None = None
        taken = False
        for answer in answers:
            taken = True
            progress.show(answer)
            if answer.type == "failed":
                raise Problem(Code.FAILED, f"stop: {answer.error}")
            if answer.type == "accepted":
                most = LONGEST if self._timeout is None else self._timeout + _BEYOND
                answers.end_within(min(max(answer.limit, 0.0), most) + _MARGIN)
            if answer.type == "done":
                last = answer
        if not taken:
            raise NoAnswer("the connection was closed")
        self.returned = last.returned if last is not None else 0
        return last

    def _signal(self) -> None:
        """Signal a master that does not respond; SIGCONT resumes a stopped one.

        Raises:
            Problem: its timeout is so long that it must not be forced yet.
        """
        daemon = self._daemon
        daemon.signal(Signals.SIGTERM)
        daemon.signal(Signals.SIGCONT)
        timeout = self._timeout
        if timeout is None:
            timeout = known.timeout if (known := daemon.state()) else 0.0
        if not daemon.process.wait(min(timeout, _UNHEARD) + _BEYOND) and timeout > _UNHEARD:
            raise Problem(
                Code.TIMED_OUT,
                f"pid {daemon.process.pid} was sent SIGTERM but does not report what it is waiting "
                f"for; its jobs may take {timeout:g} s. Use --timeout to shorten that",
            )

    def _insist(self) -> tuple[Code, str]:
        daemon = self._daemon
        daemon.signal(Signals.SIGQUIT)
        if daemon.process.wait(_AFTER_QUIT):
            return Code.DONE, ""
        if not self._kill:
            raise Problem(
                Code.TIMED_OUT,
                f"pid {daemon.process.pid} has not stopped; use --kill to kill it; the next start "
                "will recover its jobs",
            )
        daemon.kill()
        return Code.PARTIAL, "it did not stop and was killed; the next start recovers its jobs"
