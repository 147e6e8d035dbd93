"""A check, what it has found, and how severe that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from jobd.errors import RefusedError
from jobd.store.trouble import denied

T = TypeVar("T")


class Severity(StrEnum):
    """How severe a finding is."""

    ERROR = "error"
    """Jobs are lost, or do not run."""
    WARNING = "warning"
    """They will be, if nothing is done."""
    NOTE = "note"
    """Something was not checked."""


class Said(NamedTuple):
    """What a check says.

    Attributes:
        text: what is wrong, a sentence.
        advice: what to do, best as a command.
    """

    text: str
    advice: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found; see :class:`Said`.

    Attributes:
        name: of the check, for programs: ``redis.eviction``.
    """

    name: str
    severity: Severity
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """One check.

    Attributes:
        name: ``AREA.WHAT``.
        looks_at: what it looks at, for the manual.
        find: what is wrong with what was gathered; nothing if all is well.
    """

    name: str
    severity: Severity
    looks_at: str
    find: Callable[[T], Iterable[Said]]

    def run(self, facts: T) -> Iterator[Finding]:
        """What it finds. What the user of Redis may not look at is a note.

        Raises:
            RefusedError: the server refuses to tell, for another reason.
        """
        try:
            for text, advice in self.find(facts):
                yield Finding(self.name, self.severity, text, advice)
        except RefusedError as error:
            yield not_checked(self.name, error)


def not_checked(name: str, error: RefusedError) -> Finding:
    """A note that something could not be looked at, for want of a permission.

    Raises:
        RefusedError: it was refused for another reason: that is no small thing.
    """
    if not denied(error):
        raise error
    return Finding(name, Severity.NOTE, f"Not checked: {error}.")


def run(checks: Iterable[Check[T]], facts: T) -> list[Finding]:
    """What all of them find."""
    return [found for check in checks for found in check.run(facts)]
