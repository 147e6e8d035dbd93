"""The messages between the master and its children, one type for each.

A message is sent as a JSON object with its ``type``. The two sides may have different versions
(after an upgrade, code imported in the child is newer), so unknown fields are ignored, and unknown
types are only reported.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar, get_args

import msgspec

from jobd.wire.json_value import UNREADABLE


class Message(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """Base class of all messages. The name of the type is, by default, that of the class."""


# -- from a child --------------------------------------------------------------------------------


class Born(Message, frozen=True):
    """First message of a worker forked by a zygote."""

    pid: int


class Stillborn(Message, frozen=True):
    """From the zygote, in place of :class:`Born`: the worker could not be forked."""

    error: str


class Booting(Message, frozen=True):
    """Its boot is waiting; *note* says for what, "" when it continues."""

    note: str


class Ready(Message, frozen=True):
    """It has booted."""


class Failed(Message, frozen=True):
    """It cannot boot, and exits with *code*."""

    code: int
    permanent: bool
    reason: str


class Quieting(Message, frozen=True):
    """It stops fetching jobs without a request of the master."""

    cause: str


class Quieted(Message, frozen=True):
    """It has stopped fetching jobs."""


class Idle(Message, frozen=True):
    """It is quiet, and its last job has ended."""


class Resumed(Message, frozen=True):
    """It fetches jobs again."""


class Stopping(Message, frozen=True):
    """It stops without a request of the master."""

    cause: str


class Outage(Message, frozen=True):
    """Redis is unavailable to it, because of *error*; "" when it is available again."""

    error: str


class Control(Message, frozen=True):
    """A worker does not listen on the control channel, because of *error*; "" if it does again."""

    error: str


class MemoryShort(Message, frozen=True, tag="memory_short"):
    """From the keeper: why Redis is (nearly) out of memory; "" when it is not."""

    why: str


class Listener(Message, frozen=True):
    """From the keeper: why its health listener is not open; "" if it is."""

    error: str


class Leading(Message, frozen=True):
    """From the keeper: the number of its lead; 0 when it does not lead any more."""

    token: int


class Interrupted(Message, frozen=True):
    """Number of unfinished jobs returned to Redis since the last such message."""

    jobs: int


class Recovered(Message, frozen=True):
    """From the keeper: number of jobs of a dead worker that were returned to their queues."""

    identity: str
    jobs: int


class TakenOver(Message, frozen=True, tag="taken over"):
    """From the keeper: number of jobs not read by a worker that were returned to their queues."""

    identity: str
    jobs: int


class Reopened(Message, frozen=True):
    """It has reopened the log file, or *error* says why not."""

    error: str | None = None


class Stacks(Message, frozen=True, tag="dump"):
    """The answer to :class:`Dump`, with its *id*."""

    id: int
    text: str


# -- from the master -----------------------------------------------------------------------------


class Welcome(Message, frozen=True):
    """The answer to :class:`Born`: the worker is registered and may continue."""


class Trouble(Message, frozen=True):
    """To the keeper: what is wrong with the daemon, for dashboards; "" if nothing is."""

    text: str


class Quiet(Message, frozen=True):
    """Stop fetching jobs."""


class Resume(Message, frozen=True):
    """Fetch jobs again."""


class Stop(Message, frozen=True):
    """Stop; jobs may run until *deadline* (monotonic s)."""

    deadline: float


class Reopen(Message, frozen=True):
    """Reopen the log file."""


class Dump(Message, frozen=True):
    """Send the stacks of all threads; with *busy* only of those that run jobs, optionally with the
    jobs' *arguments*."""

    id: int
    busy: bool
    arguments: bool


class Workers(Message, frozen=True):
    """To the keeper: the live workers."""

    identities: list[str]


class Serving(Message, frozen=True):
    """To the keeper, for its health listener: how many workers take jobs, and, if none does, *why*;
    how many jobs they all are *running* and have *processed*. Sent every few seconds."""

    workers: int
    why: str
    running: int
    processed: int


class Lead(Message, frozen=True):
    """To a worker: run the hooks of the daemon that leads."""


class Recover(Message, frozen=True):
    """To the keeper: a worker is dead. *running* are the sequence numbers of the jobs that it ran;
    *stacks* are pairs of such a number and the job's last stack."""

    identity: str
    running: list[int]
    cause: str
    stacks: list[tuple[int, str]]


class TakeOver(Message, frozen=True, tag="take over"):
    """To the keeper: return the jobs delivered to these *waits* of a worker."""

    identity: str
    waits: list[int]


class ForkRequest(msgspec.Struct, frozen=True):
    """Request to the zygote to fork a worker, on a separate socket. It carries the descriptors of
    the worker's end of the channel, its page and its dump memory."""

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
    | Control
    | MemoryShort
    | Listener
    | Leading
    | Interrupted
    | Recovered
    | TakenOver
    | Reopened
    | Stacks
)
FromMaster: TypeAlias = (
    Welcome
    | Quiet
    | Resume
    | Stop
    | Reopen
    | Dump
    | Workers
    | Serving
    | Lead
    | Recover
    | TakeOver
    | Trouble
)

M = TypeVar("M")


class Nonsense(Exception):
    """Invalid data from the peer: something else writes to its descriptor."""


def type_of(message: Message | Unknown) -> str:
    """The name of its type, as in its JSON.

    >>> type_of(TakeOver("host:1:abc", []))
    'take over'
    """
    return message.type if isinstance(message, Unknown) else str(message.__struct_config__.tag)


_unknown: msgspec.json.Decoder[Unknown] = msgspec.json.Decoder(Unknown)
_from_child: msgspec.json.Decoder[FromChild] = msgspec.json.Decoder(FromChild)
_from_master: msgspec.json.Decoder[FromMaster] = msgspec.json.Decoder(FromMaster)


def from_child(line: bytearray) -> FromChild | Unknown:
    """Decode a line from a child.

    Raises:
        Nonsense: it is not a message, or has invalid fields for its type.
    """
    return _read(line, _from_child)


def from_master(line: bytearray) -> FromMaster | Unknown:
    """Decode a line from the master; raises Nonsense like :func:`from_child`."""
    return _read(line, _from_master)


def _read(line: bytearray, decoder: msgspec.json.Decoder[M]) -> M | Unknown:
    try:
        return decoder.decode(line)
    except UNREADABLE as error:
        try:
            other = _unknown.decode(line)
        except UNREADABLE:
            pass
        else:
            if other.type not in [kind.__struct_config__.tag for kind in get_args(decoder.type)]:
                return other
        raise Nonsense(f"{bytes(line[:60])!r}: {error}") from None
