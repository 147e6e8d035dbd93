"""A child process as seen by the master, and its slot: the place of a worker, of the keeper or of
the zygote, which outlives its child and holds the open order for a new one."""

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
    """The stages in the life of a child."""

    BOOTING = "booting"
    READY = "ready"
    QUIET = "quiet"
    STOPPING = "stopping"


class Reason(StrEnum):
    """Why a child exits, recorded before it is asked to: an exit without a reason is a crash."""

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
    """Why a child could not boot, as reported by it."""

    code: int
    permanent: bool
    reason: str


@dataclass(slots=True, eq=False)
class Child:
    """A child from its fork to its reaping. All times are monotonic seconds.

    *slot* is the one for which it was made, which may hold another child now. *requests* is the
    socket for requests to a zygote. *trouble* describes a problem found by the watch; *memory* is
    its PSS in bytes when last measured. *outage* is why it cannot reach Redis, as reported by it,
    "" if it can; *outage_since* is when it first reported that. *control* is why it does not listen
    on the control channel, "" if it does. *memory_short* is the keeper's warning about a server
    that is nearly full, *listener* why its health listener is not open.
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
    beside: bool = False  # a replacement for a running child, so its end leaves no slot empty
    trouble: str = ""
    memory: int = 0
    outage: str = ""
    outage_since: float = 0.0
    control: str = ""
    memory_short: str = ""
    listener: str = ""
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
        """0-based number of the worker; 0 for the others."""
        return self.slot.index

    @property
    def is_worker(self) -> bool:
        return self.role not in (KEEPER, ZYGOTE)

    @property
    def planned(self) -> bool:
        """Whether its exit is not a crash."""
        return self.reason in _PLANNED

    @property
    def processed(self) -> int:
        """Jobs that it has finished."""
        return self.workplace.page.words[PROCESSED]

    @property
    def jobs(self) -> str:
        """The names of the jobs that it runs, or ran when it died; "" if none."""
        return job_name.listed([job.name for job in self.workplace.page.running()])

    @property
    def serving(self) -> bool:
        """Whether it is ready and not about to exit."""
        return self.stage in (Stage.READY, Stage.QUIET)

    def tell(self, message: FromMaster) -> bool:
        """Send it a message; False if the channel is closed."""
        if self.channel is None:
            return False
        try:
            self.channel.send(message)
        except ChannelClosed:
            return False
        return True

    def send_signal(self, signum: signal.Signals) -> None:
        """Signal exactly this process; does nothing if it has ended in the meantime."""
        try:
            signal.pidfd_send_signal(self.pidfd, signum)
        except ProcessLookupError:
            pass  # its end will be read from the pidfd in a moment


class Backoff:
    """The delay before a crashed child's slot is filled again: 0, then 1 s, 2 s ... 30 s.

    The first crash causes no delay: most are one-off kills, by the OOM killer or a person. The
    others vary by ±20 % at random, so that children that died together do not restart together.
    """

    def __init__(self) -> None:
        self._crashes = 0

    def crashed(self) -> float:
        """Count a crash; returns the delay in seconds."""
        delay = min(BACKOFF_CAP, 2.0 ** min(self._crashes - 1, 10)) if self._crashes else 0.0
        self._crashes += 1
        return delay * random.uniform(0.8, 1.2)

    def healthy(self) -> None:
        self._crashes = 0


@dataclass(slots=True, eq=False)
class Order:
    """A requested child: it exists at once if the master forks it, later if a zygote does.

    Attributes:
        beside: it will be the slot's replacement, not the serving child.
        child: the child, once it exists.
        error: why it will not come.
        unwanted: it must exit as soon as it exists, for this reason.
    """

    beside: bool
    child: Child | None = None
    error: str = ""
    unwanted: Reason | None = None


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one worker, of the keeper, or of the zygote.

    *child* is the serving one; *replacement* boots beside it to take its place; *order* is the open
    one. *start_at* is when an empty slot may be filled (monotonic seconds), and *crash* describes
    how the last child has crashed.
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
        """Whether it has neither a child nor an open order."""
        return self.child is None and self.replacement is None and self.order is None

    @property
    def backing_off(self) -> bool:
        return self.child is None and self.start_at > time.monotonic()
