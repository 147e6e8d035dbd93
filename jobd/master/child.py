"""One child process as the master knows it."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from jobd import naming
from jobd.identity import identity
from jobd.master.channel import Channel, ChannelClosed, Message
from jobd.master.fork import KEEPER, ZYGOTE
from jobd.master.scoreboard import PROCESSED
from jobd.master.workplace import Workplace

if TYPE_CHECKING:
    from jobd.master.slot import Slot


class Stage(StrEnum):
    """How far a child has come in its life."""

    BOOTING = "booting"
    READY = "ready"
    QUIET = "quiet"
    STOPPING = "stopping"


class Reason(StrEnum):
    """Why a child leaves, noted before it is asked to: an exit without a reason is a crash."""

    STOP = "stop"
    ROLL = "reload"
    RECYCLE = "recycled"
    SCALE = "one too many"
    EXTERNAL = "told from outside"
    LATE = "did not get ready in time"
    HUNG = "hung"
    MEMORY = "over memory_hard"
    MUTE = "stopped talking to the master"


_PLANNED = (Reason.STOP, Reason.ROLL, Reason.RECYCLE, Reason.SCALE, Reason.EXTERNAL)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a child could not boot, in its own words."""

    code: int
    permanent: bool
    reason: str


@dataclass(slots=True, eq=False)
class Child:
    """A child from its fork to its reaping. All times are monotonic seconds.

    *slot* is the one for which it was made, whoever is in it now. *requests* is where a zygote is
    asked for workers. *trouble* is what the watch sees in it, in words; *memory* its share in bytes
    when it was last measured. *outage* is what keeps it from Redis, in its own words, "" if nothing
    does; *outage_since* is when it said so first. *memory_short* is what the keeper says of a
    server that is nearly full.
    """

    slot: Slot
    generation: int
    nonce: str
    pid: int
    pidfd: int
    ticks: int
    channel: Channel | None
    workplace: Workplace
    forked_at: float
    boot_by: float
    stage: Stage = Stage.BOOTING
    reason: Reason | None = None
    cause: str = ""
    note: str = ""
    ready_at: float = 0.0
    idle: bool = False
    failure: Failure | None = None
    beside: bool = False  # it was to replace one that goes on, so its end leaves no slot empty
    trouble: str = ""
    memory: int = 0
    outage: str = ""
    outage_since: float = 0.0
    memory_short: str = ""
    kill_at: float = float("inf")
    dumped: bool = False
    requests: socket.socket | None = None
    identity: str = field(init=False)

    def __post_init__(self) -> None:
        self.identity = identity(self.pid, self.nonce)

    @property
    def role(self) -> str:
        """ "worker.0", "worker.1", ..., "keeper" or "zygote"."""
        return self.slot.role

    @property
    def index(self) -> int:
        """Number of the worker, 0-based; 0 for the others."""
        return self.slot.index

    @property
    def is_worker(self) -> bool:
        return self.role not in (KEEPER, ZYGOTE)

    @property
    def planned(self) -> bool:
        """Whether its end is no crash."""
        return self.reason in _PLANNED

    @property
    def processed(self) -> int:
        """Jobs that it has finished."""
        return self.workplace.page.words[PROCESSED]

    @property
    def jobs(self) -> str:
        """The jobs that it runs, or ran when it died, in words; "" if there are none."""
        return naming.listed([job.name for job in self.workplace.page.running()])

    @property
    def serving(self) -> bool:
        """Ready, and not about to leave."""
        return self.stage in (Stage.READY, Stage.QUIET)

    def tell(self, message: Message) -> bool:
        """Send it a message; False when it can no longer hear."""
        if self.channel is None:
            return False
        try:
            self.channel.send(message)
        except ChannelClosed:
            return False
        return True

    def send_signal(self, signum: signal.Signals) -> None:
        """Signal this very process; one that has ended in the meantime is no error."""
        try:
            signal.pidfd_send_signal(self.pidfd, signum)
        except ProcessLookupError:
            pass  # its end will be read from the pidfd in a moment
