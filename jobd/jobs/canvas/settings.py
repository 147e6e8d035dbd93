"""What a step runs, and the options of a workflow as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobd.errors import ArgumentError
from jobd.graphs.graph import Reference
from jobd.jobs.bound_job import Call

MOST_ID = 200
"""Characters of an id, and of a name."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a step runs.

    Attributes:
        args, kwargs: its own arguments, in which there may be references.
        first: comes before them.
    """

    call: Call
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    first: Reference | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of a workflow.

    Attributes:
        id: "" for a random one.
        name: for people.
        on_error: pushed once, when the first step has failed for good.
    """

    id: str = ""
    name: str = ""
    on_error: Bound | None = None


NONE = Settings()


def settings_of(before: Settings, given: Mapping[str, Any]) -> Settings:
    """*before* with what is *given*.

    Raises:
        ArgumentError: an option is unknown or has an invalid value.
    """
    for option, value in given.items():
        if option not in ("id", "name", "on_error"):
            raise ArgumentError(
                f"unknown option {option!r} of a workflow; it has: id, name, on_error. Options of "
                "a job are those of its signature: f.s(1).set(queue='low')"
            )
        if option == "on_error":
            if value is not None and not isinstance(value, Bound):
                raise ArgumentError(f"on_error needs a signature, as alert.s(), not {value!r}")
        elif not isinstance(value, str) or len(value) > MOST_ID or not value.isprintable():
            raise ArgumentError(
                f"the {option} of a workflow is a text of at most {MOST_ID} printable characters, "
                f"not {repr(value)[:100]}"
            )
    return replace(before, **given)
