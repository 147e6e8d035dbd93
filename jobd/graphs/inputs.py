"""What a step is given: results of others in its arguments, or what is known of their failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from jobd.graphs.plan import Inputs, Source, jid_of
from jobd.wire.json_value import JsonValue

State = Literal["failed", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class FailedStep:
    """Instead of the result of a step that has failed for good.

    Attributes:
        workflow: id of the workflow.
        jid: id of the job of the step.
        state: ``"failed"``, ``"expired"`` or ``"cancelled"``.
        error_class, message: of the exception; "" if there was none.
        name: of the step; "" for one without.
    """

    workflow: str
    jid: str
    state: State
    error_class: str = ""
    message: str = ""
    name: str = ""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The result of a step as it is stored, or its failure.

    Attributes:
        state: only of a failure.
        lost: why there is no value although the step has returned one.
    """

    value: JsonValue = None
    lost: str | None = None
    state: State | None = None
    error_class: str | None = msgspec.field(default=None, name="class")
    message: str | None = None
    name: str = ""


_decode = msgspec.json.Decoder(Outcome).decode
_decode_many = msgspec.json.Decoder(list[Outcome]).decode

NOTHING = Outcome()
"""Of a step that has returned None, or nothing yet."""


def outcome(raw: bytes | None) -> Outcome:
    """A stored outcome; None where nothing is stored.

    >>> outcome(b'{"value":3}').value, outcome(None).value
    (3, None)
    """
    return NOTHING if raw is None else _decode(raw)


def outcomes(raws: list[bytes | None]) -> list[Outcome]:
    """Many of them, decoded at once."""
    return _decode_many(b"[" + b",".join(b"{}" if raw is None else raw for raw in raws) + b"]")


def given(workflow: str, number: int, found: Outcome) -> object:
    """What another step is given: the result of step *number*, or its failure."""
    if found.state is None:
        return found.value
    return FailedStep(
        workflow,
        jid_of(workflow, number),
        found.state,
        found.error_class or "",
        found.message or "",
        found.name,
    )


def numbers(inputs: Inputs, *, listed: bool = True) -> Iterator[int]:
    """The steps whose results are wanted, each as often as it is.

    Args:
        listed: with those of lists of results.
    """
    sources: list[Source] = [source for _, source in inputs.at]
    if inputs.first is not None:
        sources.append(inputs.first)
    while sources:
        one = sources.pop()
        if isinstance(one, int):
            yield one
        elif listed or not _is_flat(one):
            sources += one


def fill(
    args: list[object],
    kwargs: dict[str, object],
    inputs: Inputs,
    value_of: Callable[[int], object],
    many: Callable[[list[int]], object] | None = None,
) -> None:
    """Put results into arguments.

    Args:
        many: makes what stands for a list of results; default: the list.

    >>> args = [1, {"x": None}]
    >>> fill(args, {}, Inputs(first=[0, 1], at=[(["args", 1, "x"], 0)]), lambda number: number + 5)
    >>> args
    [[5, 6], 1, {'x': 5}]
    """

    def value(source: Source) -> object:
        if isinstance(source, int):
            return value_of(source)
        if many is not None and _is_flat(source):
            return many(cast("list[int]", source))
        return [value(one) for one in source]

    for path, source in inputs.at:
        place: Any = {"args": args, "kwargs": kwargs}
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value(source)
    if inputs.first is not None:
        args.insert(0, value(inputs.first))


def _is_flat(source: list[Source]) -> bool:
    return all(isinstance(one, int) for one in source)
