"""The messages between jobctl and the master on the control socket: one type per message.

On the socket each is a JSON object: ``command`` names the request, ``type`` the answer. The two
sides may have different versions, so unknown fields are ignored. jobctl parses answers with
:class:`jobctl.daemon.answers.Reply`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, get_args

import msgspec

from jobd.wire.json_value import UNREADABLE

LONGEST_STOP = 86400.0
"""Most seconds that jobs may keep running during a stop."""


# -- requests ------------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True, tag_field="command", tag=str.lower):
    """Base class of requests; the command is the name of the class."""

    @property
    def command(self) -> str:
        """
        >>> Retire(0).command
        'retire'
        """
        return str(self.__struct_config__.tag)


class Status(Request, frozen=True):
    """Return the status."""


class Quiet(Request, frozen=True):
    """Stop taking jobs."""


class Resume(Request, frozen=True):
    """Take jobs again."""


class Stop(Request, frozen=True, omit_defaults=True):
    """Stop; jobs may keep running for *timeout* seconds (default: the setting)."""

    timeout: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_STOP)] | None = None


class Reload(Request, frozen=True):
    """Read the settings again and replace all workers."""


class Retire(Request, frozen=True):
    """Replace the worker with this number."""

    slot: int


class Scale(Request, frozen=True):
    """Change the number of workers."""

    workers: int


class Reopen(Request, frozen=True):
    """Reopen the log file in all processes."""


class Threads(Request, frozen=True):
    """Return the stacks of all threads of these processes (roles or process ids; default: all);
    with *busy* only of threads that run jobs."""

    of: list[str | int] = []
    busy: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """An unknown request."""

    command: object = None


class Malformed(msgspec.Struct, frozen=True):
    """A known request with an invalid field."""

    command: str
    error: str


Known: TypeAlias = Status | Quiet | Resume | Stop | Reload | Retire | Scale | Reopen | Threads

COMMANDS = [str(kind.__struct_config__.tag) for kind in get_args(Known)]

_known: msgspec.json.Decoder[Known] = msgspec.json.Decoder(Known)
_unknown = msgspec.json.Decoder(Unknown)


def read(line: bytes) -> Known | Unknown | Malformed:
    """Parse one line as a request.

    Raises:
        MsgspecError, ValueError, RecursionError: it is not a JSON object.
    """
    try:
        return _known.decode(line)
    except UNREADABLE as error:
        name = _unknown.decode(line).command
        if isinstance(name, str) and name in COMMANDS:
            return Malformed(name, str(error))
        return Unknown(name)


# -- answers -------------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """Base class of answers; the type is the name of the class."""


class Accepted(Answer, frozen=True, omit_defaults=True):
    """The request has begun; *limit* is the most seconds until it ends, if known."""

    limit: float = 0.0


class Waiting(Answer, frozen=True, omit_defaults=True):
    """What the request waits for, and for how many seconds at most, if known."""

    text: str
    seconds: float = 0.0


class Progress(Answer, frozen=True):
    """A step that has been completed."""

    text: str


class Text(Answer, frozen=True):
    """A part of the requested output."""

    text: str


class Busy(Answer, frozen=True):
    """The only answer if too many clients are connected."""

    error: str


class Failed(Answer, frozen=True):
    """The last answer: the request failed, and why."""

    error: str


class Done(Answer, frozen=True, tag="done"):
    """The last answer: the request succeeded."""


class Postponed(Done, frozen=True, tag="done"):
    """The reload begins when the daemon is resumed."""

    postponed: bool = True


class Reloaded(Done, frozen=True, tag="done"):
    """All workers have this generation."""

    generation: int


class QuietSoon(Done, frozen=True, tag="done"):
    """The daemon will be quiet later; *text* says when."""

    text: str


class Stopped(Done, frozen=True, tag="done"):
    """The daemon exits now: its exit code, a sentence, and how many unfinished jobs have been
    returned to Redis."""

    code: int
    text: str
    returned: int


class Retired(Done, frozen=True, tag="done"):
    """The worker with this process id will be replaced."""

    pid: int


class Scaled(Done, frozen=True, tag="done"):
    """The previous number of workers; *leaving* are the surplus ones, with their process ids."""

    before: int
    leaving: dict[str, int]


class Dumped(Done, frozen=True, tag="done"):
    """All stacks have been sent; *raw* are the processes that did not answer."""

    raw: list[str]


# -- the answer to Status, as ``jobctl status --json`` shows it -----------------------------------


class OutageStatus(msgspec.Struct, frozen=True):
    """Which processes cannot reach Redis, the longest time, and the most recent error."""

    processes: list[str]
    seconds: float
    error: str


class BackOff(msgspec.Struct, frozen=True):
    """A slot whose process has crashed, and the seconds until it is refilled."""

    role: str
    seconds: float
    cause: str = ""


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, the keeper or a zygote. *reason* is the summary of its condition, *trouble* a
    problem with it, *outage* why it cannot reach Redis, *control* why a worker does not listen on
    the control channel; *busy* is the number of its running jobs, *coroutines* of the async ones
    among them; *memory* is its PSS, *rss* its resident memory."""

    role: str
    pid: int
    state: str
    reason: str
    trouble: str = ""
    outage: str = ""
    control: str = ""
    generation: int
    uptime: float
    busy: int
    coroutines: int = 0
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
    log_trouble: str
    logfile: str
    concurrency: int
    async_concurrency: int = 0
    queues: list[str]
    unrecovered: int
    backing_off: list[BackOff]
    empty: list[str] = []
    keeper: ChildStatus | None
    zygotes: list[ChildStatus]
    workers: list[ChildStatus]


class PartialStatus(DaemonStatus, frozen=True, kw_only=True):
    """The status of a daemon of an older version, which lacks some fields."""

    crash_loop: str = ""
    reload_trouble: str = ""
    outage: OutageStatus | None = None
    memory_short: str = ""
    log_trouble: str = ""
    zygotes: list[ChildStatus] = []


class Shown(Done, frozen=True, tag="done"):
    """The status."""

    status: DaemonStatus
