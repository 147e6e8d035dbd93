"""The zygote: a process that imports the application and then only forks workers.

With ``preload`` there is one per generation. Memory allocated by the import is shared copy-on-write
by all workers forked from it. The garbage collector would write to every object that it visits, so
after the import all objects are frozen (``gc.freeze``): the collector ignores them.

A process can be forked safely only while it has a single thread, so an application that starts
threads at import is refused. jobd opens no Redis connection here either.
"""

from __future__ import annotations

import errno
import gc
import os
import selectors
import signal
import socket
from functools import partial
from os import _exit
from os import fork as _fork  # the application may replace os.fork
from signal import Signals
from typing import TYPE_CHECKING, NoReturn

import msgspec

from jobd.jobs import loading
from jobd.runtime.child.birth import Birth
from jobd.runtime.child.mainloop import Child
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.channel import ChannelClosed, ChildEnd, child_end
from jobd.runtime.ipc.messages import ForkRequest, FromMaster, Unknown
from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.process import forks, single_thread, stacks
from jobd.runtime.process.signals import BLOCKED
from jobd.worker import main as worker

if TYPE_CHECKING:
    from jobd.runtime.child.seat import Seat

_PACKET = 65536
_DESCRIPTORS = 3


def main(seat: Seat, requests: socket.socket) -> int:
    """Run a zygote; returns its exit code.

    Raises:
        ApplicationError: the application cannot be imported, or cannot be forked.
    """
    return Zygote(seat, requests).run()


class Zygote(Child):
    """The zygote's only thread."""

    def __init__(self, seat: Seat, requests: socket.socket) -> None:
        super().__init__(seat)
        self._master = os.getppid()
        self._requests = requests
        requests.setblocking(False)
        self._selector.register(requests, selectors.EVENT_READ, requests)
        forks.on_copy(requests.close)

    def run(self) -> int:
        self._load()
        self.tell(messages.Ready())
        while self.exit_code is None:
            self.turn()
        return self.exit_code

    def _load(self) -> None:
        config = self.seat.config
        with single_thread.Starts() as starts:
            self._app = loading.load_for(config)
        # The application, or a library of it, may have replaced signal handlers.
        self.seat.listen()
        if others := single_thread.others(starts):
            raise loading.unforkable(others)
        gc.collect()
        gc.freeze()

    # -- signals and messages ------------------------------------------------------------------

    def on_signal(self, signal: Signals) -> None:
        if signal in (Signals.SIGTERM, Signals.SIGQUIT):
            name = signal.name.removeprefix("SIG")
            self.tell(messages.Stopping(f"signal {name}"))
            self.exit_code = 0

    def on_message(self, message: FromMaster | Unknown) -> None:
        if isinstance(message, messages.Stop):
            self.exit_code = 0

    def tick(self) -> None:
        while not self.ended():
            try:
                packet, fds, _flags, _from = socket.recv_fds(
                    self._requests, _PACKET, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            if not packet:  # the master has exited
                self.exit_code = 0
                return
            if len(fds) < _DESCRIPTORS:
                # Out of descriptors; the master sees the other end of the line close.
                self.log.error("fork_failed", error=os.strerror(errno.EMFILE))
                for fd in fds:
                    os.close(fd)
                continue
            line_fd, page_fd, dump_fd = fds
            line = child_end(socket.socket(fileno=line_fd))
            self._fork(msgspec.json.decode(packet, type=ForkRequest), line, page_fd, dump_fd)
            line.close()
            os.close(page_fd)
            os.close(dump_fd)

    def stacks(self, **_which: bool) -> str:
        return stacks.dump(f"{self.seat.role} {self.seat.identity}")

    # -- forking -------------------------------------------------------------------------------

    def _fork(self, request: ForkRequest, line: ChildEnd, page_fd: int, dump_fd: int) -> None:
        """Double-fork a worker: the intermediate process exits, so that the master adopts it."""
        if others := single_thread.others():
            self._stillborn(line, f"the zygote now has threads ({others}) and must not fork")
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        try:
            with forks.ours():
                intermediate = _fork()
                if intermediate == 0:
                    self._fork_and_leave(request, line, page_fd, dump_fd)
        except OSError as error:
            self._stillborn(line, os.strerror(error.errno or 0))
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            _, status = os.waitpid(intermediate, 0)
        except ChildProcessError:
            status = 0  # the application ignores SIGCHLD, so the kernel keeps no exit code
        if code := os.waitstatus_to_exitcode(status):
            self._stillborn(line, os.strerror(code) if code > 0 else f"killed by signal {-code}")

    def _stillborn(self, line: ChildEnd, reason: str) -> None:
        """Tell the master, which waits for the worker's first message, why there will be none."""
        try:
            line.send(messages.Stillborn(reason))
        except ChannelClosed as error:
            self.log.debug("master_unreachable", error=str(error))

    def _fork_and_leave(
        self, request: ForkRequest, line: ChildEnd, page_fd: int, dump_fd: int
    ) -> NoReturn:
        code = 1
        try:
            intermediate = os.getpid()
            if _fork() == 0:
                self._birth(request, line, page_fd, dump_fd).live(self._master, intermediate)
            code = 0
        except OSError as error:
            code = error.errno or 1
        finally:
            _exit(code)

    def _birth(self, request: ForkRequest, line: ChildEnd, page_fd: int, dump_fd: int) -> Birth:
        page = Page.attach(page_fd)
        os.close(page_fd)

        def leave_behind() -> None:
            self._selector.close()
            self._requests.close()
            self.seat.channel.close()
            self.seat.signals.abandon()
            self.bell.close()
            self.seat.page.close()
            os.close(self.seat.dump_fd)

        return Birth(
            self.seat.config,
            self.seat.logfile,
            request.role,
            request.index,
            request.generation,
            self.seat.since,
            request.nonce,
            line,
            page,
            dump_fd,
            leave_behind,
            partial(worker.main, app=self._app),
        )
