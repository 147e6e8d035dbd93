"""``jobctl stop``: asks the master, and where that does not answer, signals it.

It always ends: a healthy master says every few seconds what it waits for, and one that does not is
no longer relied upon.
"""

from __future__ import annotations

from signal import Signals

from jobctl.codes import Code, Problem, Silence
from jobctl.daemon.answers import LONGEST, NoAnswer, Reply
from jobctl.daemon.pidfile import Daemon
from jobctl.daemon.progress import Progress
from jobd.master.control import messages

_BEYOND = 60.0  # s beyond the timeout, in which a daemon has stopped or will not
_UNHEARD = 600.0  # s that the timeout of a master that says nothing may take
_AFTER_QUIT = 15.0
_MARGIN = 5.0


class Stop:
    """One stop.

    Args:
        timeout: seconds that jobs may run on; None for what the daemon's settings say.
        kill: whether a daemon that does not stop is to be killed.

    Attributes:
        returned: how many jobs the daemon says to have given back.
    """

    def __init__(self, daemon: Daemon, timeout: float | None, *, kill: bool) -> None:
        self.returned = 0
        self._daemon = daemon
        self._timeout = timeout
        self._kill = kill

    def run(self) -> tuple[Code, str]:
        """Returns when the daemon has gone: the exit code, and what there is to say about it.

        Raises:
            Problem: it has not.
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
        """What the master says last; None if it has been interrupted.

        Raises:
            NoAnswer, Silence: it does not say.
            Problem: it refuses.
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
        """A mute master still gets the signal; a stopped one would not take it.

        Raises:
            Problem: its jobs may have so much time that it would be wrong to do more.
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
                f"pid {daemon.process.pid} has got SIGTERM and does not say what it waits for; its "
                f"jobs may have {timeout:g} s. --timeout gives them less",
            )

    def _insist(self) -> tuple[Code, str]:
        daemon = self._daemon
        daemon.signal(Signals.SIGQUIT)
        if daemon.process.wait(_AFTER_QUIT):
            return Code.DONE, ""
        if not self._kill:
            raise Problem(
                Code.TIMED_OUT,
                f"pid {daemon.process.pid} has not stopped; --kill would kill it, and the next "
                "start would recover its jobs",
            )
        daemon.kill()
        return Code.PARTIAL, "it did not stop and was killed; the next start recovers its jobs"
