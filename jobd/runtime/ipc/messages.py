"""What the master and its children say to each other: one type for each message.

On the line each is a JSON object; its ``type`` says which one it is. The two sides may be of
different versions (code that is imported in the child is the newer one after an upgrade), so that a
field more is passed over, and a type that is not known is reported and nothing else.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar, get_args

import msgspec


class Message(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """What all messages have in common: the name of its type, by default that of its class."""


# -- what a child says ---------------------------------------------------------------------------


class Born(Message, frozen=True):
    """The first word of a worker that a zygote has forked."""

    pid: int


class Stillborn(Message, frozen=True):
    """The zygote's, in place of a worker's first word: there will be no worker."""

    error: str


class Booting(Message, frozen=True):
    """Its boot waits for something, in words; "" when it goes on."""

    note: str


class Ready(Message, frozen=True):
    """It has booted."""


class Failed(Message, frozen=True):
    """It cannot boot, and leaves with exit code *code*."""

    code: int
    permanent: bool
    reason: str


class Quieting(Message, frozen=True):
    """It takes no more jobs, which the master has not asked for."""

    cause: str


class Quieted(Message, frozen=True):
    """It takes no more jobs."""


class Idle(Message, frozen=True):
    """It is quiet, and its last job has ended."""


class Resumed(Message, frozen=True):
    """It takes jobs again."""


class Stopping(Message, frozen=True):
    """It leaves, which the master has not asked for."""

    cause: str


class Outage(Message, frozen=True):
    """What keeps it from Redis; "" when nothing does any more."""

    error: str


class MemoryShort(Message, frozen=True, tag="memory_short"):
    """The keeper's: why the Redis server will soon take nothing more; "" when it has room."""

    why: str


class Interrupted(Message, frozen=True):
    """So many unfinished jobs have gone back to Redis since it was said last."""

    jobs: int


class Recovered(Message, frozen=True):
    """The keeper's: so many jobs of a dead worker are back in their queues."""

    identity: str
    jobs: int


class TakenOver(Message, frozen=True, tag="taken over"):
    """The keeper's: so many jobs that a worker had not read are back in their queues."""

    identity: str
    jobs: int


class Reopened(Message, frozen=True):
    """It has opened the log file again, or *error* says why not."""

    error: str | None = None


class Stacks(Message, frozen=True, tag="dump"):
    """The answer to :class:`Dump`, with its *id*."""

    id: int
    text: str


# -- what the master says ------------------------------------------------------------------------


class Welcome(Message, frozen=True):
    """The answer to :class:`Born`: the worker is known, and may go on."""


class Quiet(Message, frozen=True):
    """Take no more jobs."""


class Resume(Message, frozen=True):
    """Take jobs again."""


class Stop(Message, frozen=True):
    """Leave; jobs may run until *deadline* (monotonic s)."""

    deadline: float


class Reopen(Message, frozen=True):
    """Open the log file again."""


class Dump(Message, frozen=True):
    """Say what every thread does: with *busy* only those that run jobs, with the jobs' *arguments*
    if they are wanted."""

    id: int
    busy: bool
    arguments: bool


class Workers(Message, frozen=True):
    """To the keeper: the workers that live."""

    identities: list[str]


class Recover(Message, frozen=True):
    """To the keeper: a worker is dead. *running* are the numbers of the jobs that it ran; *stacks*
    are pairs of such a number and what that job did last."""

    identity: str
    running: list[int]
    cause: str
    stacks: list[tuple[int, str]]


class TakeOver(Message, frozen=True, tag="take over"):
    """To the keeper: return what has been delivered to these *waits* of a worker's."""

    identity: str
    waits: list[int]


class ForkRequest(msgspec.Struct, frozen=True):
    """What the zygote is asked for, on a socket of its own. With it come the descriptors of the
    worker's end of the line, of its page and of its dump memory."""

    role: str
    index: int
    generation: int
    nonce: str


# -- reading -------------------------------------------------------------------------------------


class Unknown(msgspec.Struct, frozen=True):
    """A message of a type that this version does not know."""

    type: str


FromChild: TypeAlias = (
    Born
    | Stillborn
    | Booting
    | Ready
    | Failed
    | Quieting
    | Quieted
    | Idle
    | Resumed
    | Stopping
    | Outage
    | MemoryShort
    | Interrupted
    | Recovered
    | TakenOver
    | Reopened
    | Stacks
)
FromMaster: TypeAlias = (
    Welcome | Quiet | Resume | Stop | Reopen | Dump | Workers | Recover | TakeOver
)

M = TypeVar("M")


class Nonsense(Exception):
    """The peer says what is no message: somebody else writes to its descriptor."""


def type_of(message: Message | Unknown) -> str:
    """The name of its type, as it stands on the line.

    >>> type_of(TakeOver("host:1:abc", []))
    'take over'
    """
    return message.type if isinstance(message, Unknown) else str(message.__struct_config__.tag)


_unknown: msgspec.json.Decoder[Unknown] = msgspec.json.Decoder(Unknown)
_from_child: msgspec.json.Decoder[FromChild] = msgspec.json.Decoder(FromChild)
_from_master: msgspec.json.Decoder[FromMaster] = msgspec.json.Decoder(FromMaster)


def from_child(line: bytearray) -> FromChild | Unknown:
    """The message in one line of a child's.

    Raises:
        Nonsense: it is none, or one of a known type with fields that cannot be.
    """
    return _read(line, _from_child)


def from_master(line: bytearray) -> FromMaster | Unknown:
    """The message in one line of the master's; raises Nonsense as :func:`from_child` does."""
    return _read(line, _from_master)


def _read(line: bytearray, decoder: msgspec.json.Decoder[M]) -> M | Unknown:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        try:
            other = _unknown.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
        else:
            if other.type not in [kind.__struct_config__.tag for kind in get_args(decoder.type)]:
                return other
        raise Nonsense(f"{bytes(line[:60])!r}: {error}") from None
