"""The context of a child process: everything that it receives from the master."""

from __future__ import annotations

import faulthandler
import os
from dataclasses import dataclass

from jobd.runtime.ipc.channel import ChildEnd
from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.log.file import LogFile
from jobd.runtime.process.identity import identity
from jobd.runtime.process.signals import RAW_DUMP, SignalInbox, give_back
from jobd.runtime.process.titles import set_title
from jobd.settings.daemon import Config


@dataclass(frozen=True, slots=True)
class Seat:
    """The context of a child process.

    Attributes:
        config: the settings.
        role: "worker.0", "worker.1", ... or "keeper".
        index: number of the worker, 0-based; 0 for the keeper.
        generation: number of the generation, incremented at each reload; starts at 1.
        since: when its generation began (monotonic s): the start or the reload.
        nonce: the random part of :attr:`identity`.
        channel: this child's end of the channel to the master.
        signals: the signals sent to this child.
        page: its page of shared memory, cleared.
        dump_fd: descriptor for C-level stack dumps; the master reads them.
        logfile: the log, already configured for this role.
    """

    config: Config
    role: str
    index: int
    generation: int
    since: float
    nonce: str
    channel: ChildEnd
    signals: SignalInbox
    page: Page
    dump_fd: int
    logfile: LogFile

    def listen(self) -> None:
        """Install the signal handlers, and enable stack dumps on a crash and on RAW_DUMP, which
        work even if the process cannot run Python code."""
        self.signals.listen()
        faulthandler.enable(file=self.dump_fd, all_threads=True)
        faulthandler.unregister(RAW_DUMP)
        faulthandler.register(RAW_DUMP, file=self.dump_fd, all_threads=True)

    def give_up(self) -> None:
        """In a forked copy of this process: restore the default signal handlers, and close the
        channel to the master and the shared memory."""
        faulthandler.unregister(RAW_DUMP)
        faulthandler.disable()
        give_back(self.signals)
        self.channel.close()
        os.close(self.dump_fd)
        self.page.close()
        set_title(f"child of {self.role}", self.config.tag)

    def dump(self) -> None:
        """Dump the current stacks to where the master finds them after the process has ended."""
        faulthandler.dump_traceback(file=self.dump_fd, all_threads=True)

    @property
    def is_worker(self) -> bool:
        return self.role.startswith("worker.")

    @property
    def identity(self) -> str:
        """The name of this process in Redis."""
        return identity(os.getpid(), self.nonce)
