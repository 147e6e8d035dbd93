"""Formatting of tracebacks in bounded length and time.

An exception may have a message of thirty megabytes, thousands of causes, or the stack of a
recursion. The end is kept: the exception's own message and the innermost frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from traceback import StackSummary, TracebackException, walk_tb

from jobd.text.printable import INTERRUPTIONS, cut, kind_of, text_of, valid

FRAMES = 200
"""Most frames shown per exception; the innermost are kept."""

_EXCEPTIONS = 50
"""Most causes, contexts and members of groups for the full format."""

_CAUSES = 10
"""Causes shown of an exception that has more."""


def formatted(error: BaseException, most: int) -> str:
    """The traceback of *error* in about *most* characters at most, even if its own code raises."""
    try:
        if _related(error) <= _EXCEPTIONS:
            shown = TracebackException(
                type(error), error, error.__traceback__, limit=-FRAMES, compact=True
            )
            return _newest(shown.format(), most)
        return _newest(_briefly(error), most)
    except INTERRUPTIONS:
        raise
    except BaseException as second:  # noqa: BLE001 - broken code of the application
        return f"{kind_of(error)} (its traceback cannot be shown: {kind_of(second)})"


def _newest(parts: Iterable[str], most: int) -> str:
    """The last of *parts* that fit, after a note of how much was omitted."""
    kept: list[str] = []
    room = most
    every = [valid(cut(part.rstrip("\n"), most // 4)) for part in parts]
    while every and len(every[-1]) <= room:
        room -= len(every[-1]) + 1
        kept.append(every.pop())
    if every:
        kept.append(f"… {sum(map(len, every)):,} earlier characters omitted")
    return "\n".join(reversed(kept))


def _related(error: BaseException) -> int:
    """How many exceptions the full format shows for *error*; stops counting above the limit."""
    waiting, seen = [error], {id(error)}
    while waiting and len(seen) <= _EXCEPTIONS:
        one = waiting.pop()
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        for other in (one.__cause__, one.__context__, *members[: 2 * _EXCEPTIONS]):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
    return len(seen)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen and len(seen) < _CAUSES:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _briefly(error: BaseException) -> Iterator[str]:
    yield f"(only the last of more than {_EXCEPTIONS} exceptions)"
    for one in reversed(list(_causes(error))):
        yield "Traceback (most recent call last):"
        yield from StackSummary.extract(walk_tb(one.__traceback__), limit=-FRAMES).format()
        yield f"{kind_of(one)}: {text_of(one)}"
        if isinstance(one, BaseExceptionGroup):
            members = one.exceptions[:_CAUSES]
            yield from (f"  + {kind_of(member)}: {text_of(member)}" for member in members)
            if len(one.exceptions) > len(members):
                yield f"  + and {len(one.exceptions) - len(members):,} more"
