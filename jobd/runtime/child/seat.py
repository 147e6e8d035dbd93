"""What the master hands to a child: everything that it needs to be a worker or the keeper."""

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
    """A child's place at the table.

    Attributes:
        config: the settings.
        role: "worker.0", "worker.1", ... or "keeper".
        index: number of the worker, 0-based; 0 for the keeper.
        generation: counts the reloads; 1 for the first children.
        nonce: the random part of :attr:`identity`.
        channel: this child's end of the line to the master.
        signals: the signals sent to this child.
        page: its page of shared memory, cleared.
        dump_fd: where the C-level stack dumper writes; the master reads it.
        logfile: the log, already configured for this role.
    """

    config: Config
    role: str
    index: int
    generation: int
    nonce: str
    channel: ChildEnd
    signals: SignalInbox
    page: Page
    dump_fd: int
    logfile: LogFile

    def listen(self) -> None:
        """Take the signals of this process, and have the interpreter dump its stacks on a crash
        and on RAW_DUMP, also where it cannot run Python any more."""
        self.signals.listen()
        faulthandler.enable(file=self.dump_fd, all_threads=True)
        faulthandler.unregister(RAW_DUMP)
        faulthandler.register(RAW_DUMP, file=self.dump_fd, all_threads=True)

    def give_up(self) -> None:
        """In a copy of this process: take signals as any process does, and let go of the line to
        the master and of what both share."""
        faulthandler.unregister(RAW_DUMP)
        faulthandler.disable()
        give_back(self.signals)
        self.channel.close()
        os.close(self.dump_fd)
        self.page.close()
        set_title(f"child of {self.role}", self.config.tag)

    def dump(self) -> None:
        """Leave the stacks of this moment where the master finds them after the end."""
        faulthandler.dump_traceback(file=self.dump_fd, all_threads=True)

    @property
    def is_worker(self) -> bool:
        return self.role.startswith("worker.")

    @property
    def identity(self) -> str:
        """The name under which this process is known in Redis."""
        return identity(os.getpid(), self.nonce)
