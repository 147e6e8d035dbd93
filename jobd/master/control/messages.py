"""What jobctl and the master say to each other at the control socket: one type for each message.

On the socket each is a JSON object: ``command`` says which request it is, ``type`` which answer.
The two sides may be of different versions, so that a field more is passed over. What jobctl reads
of the answers is :class:`jobctl.daemon.answers.Reply`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, get_args

import msgspec

LONGEST_STOP = 86400.0
"""Seconds that the jobs of a daemon that stops may run on at most."""


# -- requests ------------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True, tag_field="command", tag=str.lower):
    """What all requests have in common: their name, that of the class."""

    @property
    def command(self) -> str:
        """
        >>> Retire(0).command
        'retire'
        """
        return str(self.__struct_config__.tag)


class Status(Request, frozen=True):
    """Say how everything is."""


class Quiet(Request, frozen=True):
    """Take no more jobs."""


class Resume(Request, frozen=True):
    """Take jobs again."""


class Stop(Request, frozen=True, omit_defaults=True):
    """Stop; jobs may run on for *timeout* seconds, by default for those of the settings."""

    timeout: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_STOP)] | None = None


class Reload(Request, frozen=True):
    """Read the settings again and replace all workers."""


class Retire(Request, frozen=True):
    """Replace the worker of this number."""

    slot: int


class Scale(Request, frozen=True):
    """Go on with so many workers."""

    workers: int


class Reopen(Request, frozen=True):
    """Open the log file again, in all processes."""


class Threads(Request, frozen=True):
    """Say what the threads do: those of these processes (roles or process ids; of all without
    any), with *busy* only those that run jobs."""

    of: list[str | int] = []
    busy: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """A request that is none of these."""

    command: object = None


class Malformed(msgspec.Struct, frozen=True):
    """A known request with a field that cannot be."""

    command: str
    error: str


Known: TypeAlias = Status | Quiet | Resume | Stop | Reload | Retire | Scale | Reopen | Threads

COMMANDS = [str(kind.__struct_config__.tag) for kind in get_args(Known)]

_known: msgspec.json.Decoder[Known] = msgspec.json.Decoder(Known)
_unknown = msgspec.json.Decoder(Unknown)


def read(line: bytes) -> Known | Unknown | Malformed:
    """The request in one line.

    Raises:
        MsgspecError, ValueError, RecursionError: it is not a JSON object.
    """
    try:
        return _known.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        name = _unknown.decode(line).command
        if isinstance(name, str) and name in COMMANDS:
            return Malformed(name, str(error))
        return Unknown(name)


# -- answers -------------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """What all answers have in common: the name of its type."""


class Accepted(Answer, frozen=True, omit_defaults=True):
    """It has been begun; *limit* is in how many seconds it ends at the latest, where that is
    known."""

    limit: float = 0.0


class Waiting(Answer, frozen=True, omit_defaults=True):
    """What it waits for, and for how many seconds at most, where that is known."""

    text: str
    seconds: float = 0.0


class Progress(Answer, frozen=True):
    """What has happened meanwhile."""

    text: str


class Text(Answer, frozen=True):
    """A part of what was asked for."""

    text: str


class Busy(Answer, frozen=True):
    """In place of any other: too many clients are connected."""

    error: str


class Failed(Answer, frozen=True):
    """The last one: it has not been done, and why."""

    error: str


class Done(Answer, frozen=True, tag="done"):
    """The last one: it has been done."""


class Postponed(Done, frozen=True, tag="done"):
    """The reload begins at the resume."""

    postponed: bool = True


class Reloaded(Done, frozen=True, tag="done"):
    """All workers are of this generation."""

    generation: int


class QuietSoon(Done, frozen=True, tag="done"):
    """It will be quiet, and when, in words."""

    text: str


class Stopped(Done, frozen=True, tag="done"):
    """The daemon ends now: its exit code, a sentence, and how many unfinished jobs have gone back
    to Redis."""

    code: int
    text: str
    returned: int


class Retired(Done, frozen=True, tag="done"):
    """The worker with this process id will be replaced."""

    pid: int


class Scaled(Done, frozen=True, tag="done"):
    """There were so many workers before; *leaving* are those that are too many, with their process
    ids."""

    before: int
    leaving: dict[str, int]


class Dumped(Done, frozen=True, tag="done"):
    """All stacks have been said; *raw* are the processes that did not answer by themselves."""

    raw: list[str]


# -- the answer to Status, as ``jobctl status --json`` shows it -----------------------------------


class OutageStatus(msgspec.Struct, frozen=True):
    """Which processes cannot do their work with Redis, for how long at most, and why by the last
    of them."""

    processes: list[str]
    seconds: float
    error: str


class BackOff(msgspec.Struct, frozen=True):
    """A slot whose process has crashed, and in how many seconds it gets another."""

    role: str
    seconds: float
    cause: str = ""


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, the keeper or a zygote. *reason* is all that is to be said of it, in words,
    *trouble* what is wrong with it, *outage* what keeps it from Redis; *memory* is its share, *rss*
    all that is resident."""

    role: str
    pid: int
    state: str
    reason: str
    trouble: str = ""
    outage: str = ""
    generation: int
    uptime: float
    busy: int
    in_flight: int = 0
    processed: int
    failed: int
    beat_age: float = 0.0
    rss: int
    memory: int


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole daemon; times in seconds, memory in bytes. *since* is when it entered its *state*,
    as a Unix time, and *cause* why."""

    pid: int
    version: str
    state: str
    cause: str
    since: float | None = None
    degraded: bool
    crash_loop: str
    reload_postponed: bool = False
    reload_trouble: str
    uptime: float
    generation: int
    rss: int
    tag: str = ""
    redis: str
    outage: OutageStatus | None
    memory_short: str
    logfile: str
    concurrency: int
    queues: list[str]
    unrecovered: int
    backing_off: list[BackOff]
    empty: list[str] = []
    keeper: ChildStatus | None
    zygotes: list[ChildStatus]
    workers: list[ChildStatus]


class PartialStatus(DaemonStatus, frozen=True, kw_only=True):
    """What can be shown of a daemon of an older version, which does not say all of it."""

    crash_loop: str = ""
    reload_trouble: str = ""
    outage: OutageStatus | None = None
    memory_short: str = ""
    zygotes: list[ChildStatus] = []


class Shown(Done, frozen=True, tag="done"):
    """How everything is."""

    status: DaemonStatus
