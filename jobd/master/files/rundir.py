"""The files of a running daemon beside its pidfile: state file, control socket, raw stacks."""

from __future__ import annotations

import faulthandler
import selectors
import time

from jobd.errors import PidfileError
from jobd.master.control.control_socket import ControlServer, OnRequest
from jobd.master.files import paths, pidfile, statefile
from jobd.master.files.statefile import State
from jobd.runtime.log import log
from jobd.runtime.process.dumps import DumpFile
from jobd.runtime.process.signals import RAW_DUMP

_SAVE_EVERY = 0.5

logger = log.get("jobd.master")


class RunDirectory:
    """The pidfile and its companions of one master; does nothing without *lock*."""

    def __init__(self, lock: pidfile.Pidfile | None) -> None:
        self._lock = lock
        self._control: ControlServer | None = None
        self._dump: DumpFile | None = None
        self._opened = False
        self._next_save = 0.0
        self._save_error: int | None = None

    @property
    def socket(self) -> str:
        """Path of the control socket, "" when there is none."""
        return str(self._control.path) if self._control else ""

    def open(self, selector: selectors.BaseSelector, on_request: OnRequest) -> State | None:
        """Create the socket and publish the PID. All signal handlers are already installed.

        Returns:
            the state left by a previous run, None after a clean one.

        Raises:
            PidfileError: a file cannot be created, or the pidfile cannot be written.
        """
        if self._lock is None:
            return None
        previous = statefile.load(paths.state_path(self._lock.path))
        socket = paths.socket_path(self._lock.path)
        dump = paths.dump_path(self._lock.path)
        making = f"the control socket {socket}"
        try:
            self._control = ControlServer(socket, selector, on_request)
            making = f"the file {dump}"
            self._dump = DumpFile(dump)
            self._lock.write()
        except OSError as error:
            raise PidfileError(f"cannot create {making}: {error.strerror}") from error
        # For a loop that hangs and so cannot answer TTIN.
        faulthandler.register(RAW_DUMP, file=self._dump.fd, all_threads=True)
        if self._lock.previous is not None:
            logger.warning("previous_run_unclean", previous=self._lock.previous)
        self._opened = True
        return previous

    def turn(self, now: float) -> None:
        """Once per turn of the loop."""
        if self._control is not None:
            self._control.turn(now)

    def trim_dump(self) -> None:
        """Truncate unread dumps: the run directory is in memory."""
        if self._dump is not None:
            self._dump.trim()

    @property
    def next_save(self) -> float:
        """When the state file may be written again (monotonic seconds)."""
        return self._next_save

    def save(self, state: State) -> bool:
        """Write the state file; returns False if it must be tried again."""
        if self._lock is None:
            return True
        self._next_save = time.monotonic() + _SAVE_EVERY
        try:
            if self._opened and self._lock.restore():
                logger.warning("pidfile_restored", pidfile=str(self._lock.path))
            statefile.save(paths.state_path(self._lock.path), state)
        except OSError as error:
            if self._save_error != error.errno:
                logger.error("state_not_written", error=error.strerror)
            self._save_error = error.errno
            return False
        if self._save_error is not None:
            self._save_error = None
            logger.info("state_written_again")
        return True

    def leave_behind(self) -> None:
        """In a forked child: close the descriptors, touch nothing else."""
        if self._lock is not None:
            self._lock.close()
        if self._control is not None:
            self._control.leave_behind()
        if self._dump is not None:
            self._dump.close()

    def close(self, unfinished: State | None) -> None:
        """Remove the files; the state file stays if it holds *unfinished* business."""
        if self._control is not None:
            self._control.close()
        if self._dump is not None:
            faulthandler.unregister(RAW_DUMP)
            self._dump.remove()
        if self._lock is None:
            return
        if unfinished is not None:
            self.save(unfinished)
        elif self._opened:  # otherwise the previous run's state has not been handled yet
            paths.state_path(self._lock.path).unlink(missing_ok=True)
        self._lock.remove()
