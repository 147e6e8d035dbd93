"""Patterns as Redis has them (``*``, ``?``, ``[a-c]``, ``[^a]`` and a backslash), in bounded time.

Redis searches only its sets by itself, and while it compares a long pattern with a long text
everybody else waits. So it is asked for one short part of a pattern (:func:`sent`), and what that
finds is compared here, as are lists.

Here, between two stars the leftmost match is as good as any, so that a text is gone through once.
Plain text is found in a time that grows with the length of the text alone. What has a ``?`` or a
class may have to be compared anew at each byte of the text; its length is limited, to
:data:`MOST_OPEN`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from jobd.errors import ArgumentError
from jobd.texts import Text

MOST_OPEN = 32
"""Bytes that a part of a pattern between two stars stands for, if it has a ``?`` or a class."""

MOST_SENT = 32
"""Bytes of a pattern that Redis compares. It may have to do that anew at each byte of a job."""

_SPECIAL = b"*?[]\\^"


class _Word(NamedTuple):
    """What stands for one byte.

    Attributes:
        source: in a pattern of Redis.
        expression: in a regular expression.
        plain: whether it stands for itself only.
    """

    source: bytes
    expression: bytes
    plain: bool = False


_ANY = _Word(b"?", b".")


def whole(match: str) -> str:
    """*match* anywhere in the text, unless it says by stars where.

    >>> whole("mail"), whole("mail*")
    ('*mail*', 'mail*')
    """
    return match if "*" in match else f"*{match}*"


def escaped(plain: str) -> str:
    """A pattern for exactly this text.

    >>> escaped("a*b")
    'a\\\\*b'
    """
    return re.sub(r"([*?\[\]\\^])", r"\\\1", plain)


def sent(match: str) -> bytes | None:
    """The pattern that Redis compares for *match*: it finds all that *match* does, and maybe more.
    None if that is everything.

    >>> sent("order*timeout?[0-9]*"), sent("*??*")
    (b'*timeout?[0-9]*', None)
    """
    best = max(map(_beginning, _parts(match)), key=len)
    return b"*" + b"".join(word.source for word in best) + b"*" if best else None


def _beginning(part: list[_Word]) -> list[_Word]:
    """As much of *part* as Redis compares, without what stands for any byte at its ends."""
    room = MOST_SENT
    taken: list[_Word] = []
    for word in part:
        if word.source == _ANY.source and not taken:
            continue
        room -= len(word.source)
        if room < 0:
            break
        taken.append(word)
    while taken and taken[-1].source == _ANY.source:
        taken.pop()
    return taken


def matcher(match: str) -> Callable[[bytes], bool]:
    """What tests bytes against the whole pattern *match*.

    Raises:
        ArgumentError: a part of it is longer than :data:`MOST_OPEN`.

    >>> matcher("*m[a-c]il*")(b"email"), matcher("mail")(b"email")
    (True, False)
    """
    parts = _parts(match)
    begin, *middle = map(_compiled, parts)
    if not middle:
        return lambda raw: begin.fullmatch(raw) is not None
    end, width = middle.pop(), len(parts[-1])

    def test(raw: bytes) -> bool:
        found = begin.match(raw)
        if found is None:
            return False
        at = found.end()
        for part in middle:
            found = part.search(raw, at)
            if found is None:
                return False
            at = found.end()
        return len(raw) - width >= at and end.fullmatch(raw, len(raw) - width) is not None

    return test


def _compiled(part: list[_Word]) -> re.Pattern[bytes]:
    if len(part) > MOST_OPEN and not all(word.plain for word in part):
        raise ArgumentError(
            Text(
                "A part of a search that has ? or [...] may be %(most)s characters long, and one "
                "has %(count)s. Leave some of it out, or put a * in between.",
                most=MOST_OPEN,
                count=len(part),
            )
        )
    return re.compile(b"".join(word.expression for word in part), re.DOTALL)


def _parts(match: str) -> list[list[_Word]]:
    """What is between the stars."""
    parts: list[list[_Word]] = [[]]
    raw, at = match.encode(errors="surrogatepass"), 0  # no stored text has halves of characters
    while at < len(raw):
        if raw[at] == ord("*"):
            parts.append([])
            at += 1
        else:
            word, at = _word(raw, at)
            parts[-1].append(word)
    return parts


def _word(raw: bytes, at: int) -> tuple[_Word, int]:
    """What begins at *at*, and where the next one begins."""
    if raw[at] == ord("?"):
        return _ANY, at + 1
    if raw[at] == ord("["):
        return _class(raw, at)
    if raw[at] == ord("\\") and at + 1 < len(raw):
        at += 1
    byte = raw[at : at + 1]
    source = b"\\" + byte if byte in _SPECIAL else byte
    return _Word(source, re.escape(byte), plain=True), at + 1


def _class(raw: bytes, at: int) -> tuple[_Word, int]:
    """The class that begins at *at*, as Redis reads it: one without an end goes to the end of the
    pattern, a range may be the wrong way round, and an empty one matches nothing."""
    first, members = at, set()
    negated = raw[at + 1 : at + 2] == b"^"
    at += 2 if negated else 1
    while at < len(raw) and raw[at] != ord("]"):
        if raw[at] == ord("\\") and at + 1 < len(raw):
            members.add(raw[at + 1])
            at += 2
        elif raw[at + 1 : at + 2] == b"-" and at + 2 < len(raw):
            low, high = sorted((raw[at], raw[at + 2]))
            members.update(range(low, high + 1))
            at += 3
        else:
            members.add(raw[at])
            at += 1
    inner = b"".join(b"\\x%02x" % member for member in sorted(members))
    if inner:
        expression = b"[^" * negated + b"[" * (not negated) + inner + b"]"
    else:
        expression = b"." if negated else b"(?!)"
    # Where the end is missing, nothing may be put behind it; and whether a byte beyond ASCII is
    # more or less than another one depends on the machine that Redis is on.
    source = raw[first : at + 1]
    same = at < len(raw) and source.isascii()
    return _Word(source if same else _ANY.source, expression), at + 1
