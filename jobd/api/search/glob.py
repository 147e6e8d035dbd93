"""Patterns as Redis has them (``*``, ``?``, ``[a-c]``, ``[^a]`` and a backslash), in bounded time.

While Redis compares a pattern with a long text everybody else waits, and some patterns take it a
thousand times as long as others. So it is asked for a short plain text that is a part of the
pattern (:func:`plain_part`), in its sets, and what that finds is compared here, as are lists.

Here, between two stars the leftmost match is as good as any, so that a text is gone through once.
Plain text is found in a time that grows with the length of the text alone. What has a ``?`` or a
class may have to be compared again at each byte of the text; its length is limited, to
:data:`MOST_OPEN`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from jobd.errors import ArgumentError
from jobd.text.translatable import Text

MOST_OPEN = 32
"""Bytes that a part of a pattern between two stars stands for, if it has a ``?`` or a class."""

MOST_SENT = 32
"""Bytes of a text that Redis searches for."""


class _Word(NamedTuple):
    """What stands for one byte.

    Attributes:
        expression: in a regular expression.
        plain: whether it stands for itself only.
        letter: what it stands for, or the small letter if it stands for that and its capital;
            empty for anything else.
    """

    expression: bytes
    plain: bool = False
    letter: bytes = b""

    @property
    def folds(self) -> bool:
        """Whether it stands for a letter and its capital."""
        return bool(self.letter) and not self.plain

    @property
    def uncased(self) -> bool:
        """Whether it stands for itself only, and is no letter."""
        return self.plain and self.letter.lower() == self.letter.upper()


_ANY = _Word(b".")


def whole(match: str) -> str:
    """*match* anywhere in the text, unless it says by stars where.

    >>> whole("mail"), whole("mail*")
    ('*mail*', 'mail*')
    """
    return match if "*" in match else f"*{match}*"


def sought(match: str | None, pattern: str | None) -> list[str]:
    """The patterns of a search for a text *match*, for a *pattern*, for both or for anything.

    >>> sought("[17]", None), sought(None, "mail*")
    (['*\\\\[17\\\\]*'], ['mail*'])
    """
    text = [f"*{escaped(match)}*"] if match else []
    return text + ([whole(pattern)] if pattern else [])


def escaped(plain: str) -> str:
    """A pattern for exactly this text.

    >>> escaped("a*b")
    'a\\\\*b'
    """
    return re.sub(r"([*?\[\]\\^])", r"\\\1", plain)


def plain_part(match: str) -> tuple[bytes, bool]:
    """The longest plain text that all have in them that *match* finds, as far as it is sent to
    Redis; empty if there is none. And whether its small letters stand for capitals as well.

    >>> plain_part("order*timeout?[0-9]*"), plain_part("*[aA][bB]c*"), plain_part("*??*")
    ((b'timeout', False), (b'abc', True), (b'', False))
    """
    best, folds = b"", False
    for part in _parts(match):
        text, folding = b"", False
        for word in [*part, _ANY]:
            letter = word.letter
            if letter and len(text) < MOST_SENT:
                text, folding = text + letter, folding or not word.plain
                continue
            if len(text) > len(best):
                best, folds = text, folding
            text, folding = letter, bool(letter) and not word.plain
    return (best.lower(), True) if folds else (best, False)


def matcher(match: str) -> Callable[[bytes], bool]:
    """What tests bytes against the whole pattern *match*.

    Raises:
        ArgumentError: a part of it is longer than :data:`MOST_OPEN`.

    >>> matcher("*m[a-c]il*")(b"email"), matcher("mail")(b"email")
    (True, False)
    """
    parts = _parts(match)
    begin, *middle = map(_compiled, parts)
    folding = any(part.folds for part in (begin, *middle))
    end, width = middle.pop() if middle else None, len(parts[-1])

    def test(raw: bytes) -> bool:
        texts = (raw, raw.lower() if folding else raw)
        if end is None:
            return begin.pattern.fullmatch(texts[begin.folds]) is not None
        found = begin.pattern.match(texts[begin.folds])
        if found is None:
            return False
        at = found.end()
        for part in middle:
            found = part.pattern.search(texts[part.folds], at)
            if found is None:
                return False
            at = found.end()
        last = len(raw) - width
        return last >= at and end.pattern.fullmatch(texts[end.folds], last) is not None

    return test


class _Part(NamedTuple):
    """What is between two stars, as a regular expression.

    Attributes:
        folds: it is for the text in small letters. Plain text is found in a time that grows with
            the text alone, a class for each letter would be compared again at each byte.
    """

    pattern: re.Pattern[bytes]
    folds: bool


def _compiled(part: list[_Word]) -> _Part:
    if len(part) > MOST_OPEN and not all(word.plain for word in part):
        raise ArgumentError(
            Text(
                "A part of a search that has ? or [...] may be %(most)s characters long, and one "
                "has %(count)s. Leave some of it out, or put a * in between.",
                most=MOST_OPEN,
                count=len(part),
            )
        )
    folds = any(word.folds for word in part) and all(word.folds or word.uncased for word in part)
    words = (re.escape(word.letter) if folds else word.expression for word in part)
    return _Part(re.compile(b"".join(words), re.DOTALL), folds)


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
    return _Word(re.escape(byte), plain=True, letter=byte), at + 1


def _class(raw: bytes, at: int) -> tuple[_Word, int]:
    """The class that begins at *at*, as Redis reads it: one without an end goes to the end of the
    pattern, a range may be the wrong way round, and an empty one matches nothing."""
    members = set()
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
    cases = {bytes([member]).lower() for member in members}
    both = not negated and len(members) == 2 and len(cases) == 1
    return _Word(expression, letter=cases.pop() if both else b""), at + 1
