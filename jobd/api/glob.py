"""Patterns as Redis has them (``*``, ``?``, ``[a-c]``, ``[^a]`` and a backslash), for lists.

Redis searches only its sets by itself. The way here is linear: between two stars the leftmost match
is as good as any, so no pattern can make a search slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable


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


def matcher(match: str) -> Callable[[bytes], bool]:
    """What tests bytes against the whole pattern *match*.

    >>> matcher("*m[a-c]il*")(b"email"), matcher("mail")(b"email")
    (True, False)
    """
    parts = [re.compile(part, re.DOTALL) for part in _parts(match)]
    first, *middle = parts
    if not middle:
        return lambda raw: first.fullmatch(raw) is not None
    last = re.compile(middle.pop().pattern + rb"\Z", re.DOTALL)
    width = _width(last.pattern)

    def test(raw: bytes) -> bool:
        begin = first.match(raw)
        if begin is None:
            return False
        at = begin.end()
        for part in middle:
            found = part.search(raw, at)
            if found is None:
                return False
            at = found.end()
        return len(raw) - width >= at and last.match(raw, len(raw) - width) is not None

    return test


def _parts(match: str) -> list[bytes]:
    """Regular expressions for what is between the stars; each matches bytes of one length."""
    parts, raw, at = [b""], match.encode(), 0
    while at < len(raw):
        word, at = _word(raw, at)
        if word == b"*":
            parts.append(b"")
        else:
            parts[-1] += word
    return parts


def _word(raw: bytes, at: int) -> tuple[bytes, int]:
    """The expression for what begins at *at* (``*`` for a star), and where the next one begins."""
    byte = raw[at : at + 1]
    if byte == b"*":
        return b"*", at + 1
    if byte == b"?":
        return b".", at + 1
    if byte == b"\\" and at + 1 < len(raw):
        return re.escape(raw[at + 1 : at + 2]), at + 2
    if byte == b"[":
        end = raw.find(b"]", at + 2)
        if end > 0:
            return _class(raw[at + 1 : end]), end + 1
    return re.escape(byte), at + 1


def _class(inner: bytes) -> bytes:
    negated = inner.startswith(b"^")
    members = re.sub(rb"([^\w-])", rb"\\\1", inner[negated:])
    expression = b"[" + b"^" * negated + members + b"]"
    try:
        re.compile(expression)
    except re.error:
        return re.escape(b"[" + inner + b"]")  # c-a, which is nothing to Redis either
    return expression


def _width(pattern: bytes) -> int:
    """How many bytes an expression without repetition matches."""
    return len(re.sub(rb"\[(?:\\.|[^\]])*\]|\\Z|\\.|.", _one, pattern, flags=re.DOTALL))


def _one(found: re.Match[bytes]) -> bytes:
    return b"" if found[0] == rb"\Z" else b"x"
