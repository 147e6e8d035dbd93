"""A child process as the master knows it; and its slot, the place of a worker, of the keeper or of
the zygote, which stays when its child goes, with what has been ordered for it."""

from __future__ import annotations

import random
import signal
import socket
import time
from dataclasses import dataclass, field
from enum import StrEnum

from jobd.master.children.fork import KEEPER, ZYGOTE
from jobd.runtime.ipc.channel import ChannelClosed, MasterEnd
from jobd.runtime.ipc.messages import FromMaster
from jobd.runtime.ipc.scoreboard import PROCESSED
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.runtime.process.identity import identity
from jobd.wire import job_name

BACKOFF_CAP = 30.0
"""Most seconds that a slot stays empty after a crash (before it is jittered)."""


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
    channel: MasterEnd | None
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
        return job_name.listed([job.name for job in self.workplace.page.running()])

    @property
    def serving(self) -> bool:
        """Ready, and not about to leave."""
        return self.stage in (Stage.READY, Stage.QUIET)

    def tell(self, message: FromMaster) -> bool:
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


class Backoff:
    """How long to wait before a crashed child's slot is filled again: 0, then 1 s, 2 s ... 30 s.

    The first crash costs no time: most processes are killed once, by memory or by a person. The
    others ±20 % at random, so that children that died together do not come back together.
    """

    def __init__(self) -> None:
        self._crashes = 0

    def crashed(self) -> float:
        """Count one crash; returns the seconds to wait."""
        delay = min(BACKOFF_CAP, 2.0 ** min(self._crashes - 1, 10)) if self._crashes else 0.0
        self._crashes += 1
        return delay * random.uniform(0.8, 1.2)

    def healthy(self) -> None:
        self._crashes = 0


@dataclass(slots=True, eq=False)
class Order:
    """A child that was asked for: there is one at once if the master forks it, later from a zygote.

    Attributes:
        beside: it is to be the slot's replacement, not the child that serves.
        child: it is there.
        error: it will not come, and why.
        unwanted: it is to leave as soon as it is there, for this reason.
    """

    beside: bool
    child: Child | None = None
    error: str = ""
    unwanted: Reason | None = None


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one worker, of the keeper, or of the zygote.

    *child* is the one that serves; *replacement* boots beside it to take its place; *order* is
    open. *start_at* is when an empty slot may be filled (monotonic seconds), and *crash* how the
    last child has crashed, in words.
    """

    role: str
    index: int
    child: Child | None = None
    replacement: Child | None = None
    order: Order | None = None
    start_at: float = 0.0
    crash: str = ""
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def empty(self) -> bool:
        """Whether it is to be filled: nobody is there, or has been asked for."""
        return self.child is None and self.replacement is None and self.order is None

    @property
    def backing_off(self) -> bool:
        return self.child is None and self.start_at > time.monotonic()
