"""The search box: what somebody types, as a pattern for Redis and a test for what that finds.

Words with a field before them (``class:``, ``error:``, ``tag:``, ``jid:``, ``queue:``) look into
that field; the rest is looked for as it is in the stored text. What is typed in small letters finds
capitals as well. Only after ``pattern:`` a ``*``, ``?`` or ``[`` means something else than itself:
what looks like a text must not match everything, of all that may be deleted. Redis compares the
longest part that every encoder writes in the same way; only what passes that is sent, decoded and
tested in full.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from jobd.api import JobRecord, in_group
from jobd.api.search.glob import MOST_OPEN, escaped, matcher
from jobd.wire.json_value import UNWRITABLE

FIELDS = ("class", "error", "tag", "jid", "queue", "pattern")

MOST = 1_000
"""Characters of a search."""

_FIELD = re.compile(rf"(?:^|(?<=\s))({'|'.join(FIELDS)}):(?:\"([^\"]*)\"|(\S+))")
_PLAIN = re.compile(r"[A-Za-z0-9 _.,:;!@$%()*+=\[\]{}^?|~-]+")
"""Characters that all writers of JSON leave as they are; a # may not be there at all: what is shown
as UserMailer#welcome is stored in two parts."""

Test = Callable[[JobRecord], bool]


@dataclass(frozen=True, slots=True)
class Search:
    """A search.

    Attributes:
        match: pattern for Redis; None if it cannot help.
        where: the test for what that finds; None if it is all there is to test.
    """

    match: str | None
    where: Test | None

    def __bool__(self) -> bool:
        return self.match is not None or self.where is not None


def parse(text: str, group: str = "", error: str = "") -> Search:
    """The search for *text*; no search if that is empty.

    Args:
        group: only jobs of the group of failures with this key.
        error: the class of the exception of that group, or its beginning.

    >>> parse("timeout").match, parse("Timeout  error").match, bool(parse(" "))
    ('*[tT][iI][mM][eE][oO][uU][tT]*', '*Timeout error*', False)
    >>> parse('error:"not found" tag:vip').match
    '*[nN][oO][tT] [fF][oO][uU][nN][dD]*'
    """
    tests: list[Test] = []
    hints: list[str] = []
    patterns: list[str] = []
    text = text[:MOST]
    for field, quoted, plain in _FIELD.findall(text):
        value = quoted or plain
        tests.append(_field_test(field, value))
        if field == "pattern":
            patterns.append(f"*{value}*")
        else:
            hints += _PLAIN.findall(value)
    free = " ".join(_FIELD.sub(" ", text).split())
    if free:
        hints += _PLAIN.findall(free)
        simple = _PLAIN.fullmatch(free) is not None and len(free) <= MOST_OPEN
        if tests or group or not simple:
            tests.append(_text_test(free))
    if group:
        tests.append(in_group(group))
        # Exactly as it is: its capitals are known.
        exact = max(_PLAIN.findall(error), key=len, default="")
        if len(exact) > len(max(hints, key=len, default="")):
            return Search(f"*{escaped(exact)}*", _all(tests))
    hint = max(hints, key=len, default="")
    match = f"*{_either_case(hint)}*" if hint else next(iter(patterns), None)
    return Search(match, _all(tests) if tests else None)


def for_tag(tag: str) -> str:
    """The search for the jobs with that tag; empty if there is none, as for one that was cut.

    >>> for_tag("order 7"), for_tag('"'), for_tag("a long ta…")
    ('tag:"order 7"', '', '')
    """
    return "" if not tag or '"' in tag or tag.endswith("…") else f'tag:"{tag}"'


def _all(tests: list[Test]) -> Test:
    return lambda job: all(test(job) for test in tests)


def _field_test(field: str, value: str) -> Test:
    if field == "pattern":
        found = matcher(f"*{value}*")
        return lambda job: job.matches(found)
    folded = _folding(value)
    if field == "tag":
        return lambda job: any(folded(tag) == value for tag in job.tags)
    if field == "queue":
        return lambda job: folded(job.queue) == value
    if field == "jid":
        return lambda job: folded(job.jid).startswith(value)
    within = _within(value)
    if field == "class":
        return lambda job: within(job.display_class) or within(job.klass)
    return lambda job: within(job.error_class) or within(job.error_message)


def _text_test(value: str) -> Test:
    """Tests the stored text: as it was written, and as it would be written without escapes; of what
    is encrypted, only what is shown."""
    within = _within(value)
    in_json = _within(json.dumps(value, ensure_ascii=False)[1:-1])

    def test(job: JobRecord) -> bool:
        if within(job.display_raw) or within(job.display_class):
            return True
        if job.encrypted:
            return False
        try:
            text = msgspec.json.encode(job.item).decode(errors="replace")
        except UNWRITABLE:
            return False  # numbers that no JSON of ours may hold
        return within(text) or in_json(text)

    return test


def _within(value: str) -> Callable[[str], bool]:
    """Tests whether *value* is in a text."""
    folded = _folding(value)
    return lambda text: value in folded(text)


def _folding(value: str) -> Callable[[str], str]:
    """What makes a text comparable with *value*, which finds capitals if it has none itself."""
    return str.lower if value == value.lower() else str


def _either_case(plain: str) -> str:
    """A pattern for *plain*, and for the beginning of its capitals if it has none itself."""
    if plain != plain.lower():
        return escaped(plain)
    return "".join(
        f"[{char}{char.upper()}]" if char.isalpha() else escaped(char) for char in plain[:MOST_OPEN]
    )
