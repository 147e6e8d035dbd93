"""A workflow as it is stored: the fields of one hash, and a letter for the state of each step.

``store/lua/workflows.lua`` reads and changes them. What a person sees of a graph is in chunks of
JSON, one for the steps that were pushed and one for each time that a step has added some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from jobd.graphs.graph import Policy

VERSION = 1

DAY = 86_400.0
"""Seconds that a workflow is kept after its end."""

START = "start"
"""What the first steps follow, as if it were a step."""

Role = Literal["", "undo", "error"]
"""What a step is there for: ordinary, to undo another one, or to be told of the first failure."""

Source: TypeAlias = "int | list[Source]"
"""Where an argument comes from: a step, or several, for a list."""

ERROR = -1
"""As a source: what is known of the first failure."""


class Step(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a person sees of a step.

    Attributes:
        name: "" for one without.
        job: class in the payload; "" for a joint, which only waits for those before it.
        after: the steps that it waits for.
        on_failure: what happens when it has failed.
        role: what it is there for.
        of: the step that it undoes; else -1.
    """

    name: str
    job: str
    after: tuple[int, ...] = ()
    on_failure: Policy = "stop"
    role: Role = ""
    of: int = -1


class Inputs(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """Which arguments of a step are results of others.

    Attributes:
        first: a source; it comes before the arguments of its own.
        at: other sources, by their path in ``{"args": […], "kwargs": {…}}``.
    """

    first: Any = None
    at: list[tuple[list[str | int], Any]] = []


class Ready(NamedTuple):
    """The job of a step, for its push.

    Attributes:
        raw: its payload without the time of the push; the field ``jobd`` is the last one.
        expires_in: seconds after that push in which it may start.
        keep_result: seconds for which :class:`jobd.Result` can read its result.
    """

    raw: bytes
    jid: str
    queue: str
    expires_in: float | None = None
    keep_result: float | None = None

    @property
    def stored(self) -> bytes:
        """As a field of the hash."""
        words = (self.queue, self.jid, _word(self.expires_in), _word(self.keep_result))
        return "\n".join(words).encode() + b"\n" + self.raw


class Planned(NamedTuple):
    """A step with its job; without one it is a joint.

    Attributes:
        then: steps that wait for it.
    """

    step: Step
    job: Ready | None
    inputs: Inputs | None = None
    then: tuple[int, ...] = ()


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a workflow from its beginning.

    Attributes:
        created_at: when it was pushed (seconds since 1970).
        parent: id of the job that has pushed it.
    """

    created_at: float
    name: str = ""
    v: int = VERSION
    parent: str | None = None


class Plan(NamedTuple):
    """A workflow for its push, or steps that are added to one.

    Attributes:
        first: number of its first step.
        roots: steps that wait for nothing in it.
    """

    id: str
    about: About
    steps: Sequence[Planned]
    roots: tuple[int, ...]
    first: int = 0

    @property
    def total(self) -> int:
        """How many steps there are then."""
        return self.first + len(self.steps)

    def fields(self) -> dict[str, bytes]:
        """The fields of its hash that do not change while it runs."""
        fields: dict[str, bytes] = {}
        for number, (step, job, inputs, then) in enumerate(self.steps, self.first):
            if then:
                fields[f"s:{number}"] = ",".join(map(str, then)).encode()
            if len(step.after) > 1:
                fields[f"w:{number}"] = b"%d" % len(step.after)
            if job is not None:
                fields[f"p:{number}"] = job.stored
            if inputs is not None:
                fields[f"i:{number}"] = msgspec.json.encode(inputs)
            if step.name and job is not None:
                fields[f"n:{number}"] = step.name.encode()
            if step.on_failure != "stop":
                fields[f"f:{number}"] = step.on_failure.encode()
            if step.role == "error":
                fields["oops"] = b"%d" % number
        fields[f"g:{self.first}"] = msgspec.json.encode([one.step for one in self.steps])
        if self.first == 0:
            fields[f"s:{START}"] = ",".join(map(str, self.roots)).encode()
            fields["about"] = msgspec.json.encode(self.about)
            fields["size"] = b"%d" % self.size
            if self.undo:
                fields["undo"] = self.undo.encode()
        return fields

    @property
    def size(self) -> int:
        """How many of them run something, but for those that undo others or tell of a failure."""
        return sum(1 for one in self.steps if one.job is not None and not one.step.role)

    @property
    def undo(self) -> str:
        """What undoes which step, the last one first."""
        numbered = enumerate(self.steps, self.first)
        pairs = [f"{one.step.of}:{number}" for number, one in numbered if one.step.role == "undo"]
        return ",".join(reversed(pairs))


def jid_of(workflow: str, number: int) -> str:
    """The id of the job of a step.

    >>> jid_of("order-7", 0)
    '3ee035e534ceb1972e8d51dc'
    """
    import hashlib  # loads OpenSSL, which applications without workflows do not need

    return hashlib.sha256(f"{workflow}/{number}".encode()).hexdigest()[:24]


def steps_of(fields: Mapping[bytes, bytes]) -> list[Step]:
    """The steps in the fields of a hash.

    Raises:
        msgspec.MsgspecError: no version of jobd has written them.
    """
    chunks = sorted((int(key[2:]), value) for key, value in fields.items() if key[:2] == b"g:")
    found: list[Step] = []
    for _, chunk in chunks:
        found += _decode_steps(chunk)
    return found


_decode_steps = msgspec.json.Decoder(list[Step]).decode


def _word(seconds: float | None) -> str:
    return "" if seconds is None else repr(float(seconds))
