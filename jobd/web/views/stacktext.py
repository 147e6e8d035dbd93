"""The text of a stack dump taken apart, so that a page can show one thread at a time and mark the
frames of the application."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

from jobd.api.search.groups import is_library
from jobd.text.printable import shortened

_HEAD = re.compile(r"^(?:Thread|Coroutine) (?P<name>.*?)(?: \(0x[0-9a-f]+\))?(?:: (?P<note>.*))?$")
_JOB = re.compile(r"^(?P<class>\S+) (?P<jid>[0-9A-Za-z_-]{1,64}) from (?P<queue>\S+), for .+$")
_FRAME = re.compile(r'^ {2}File "(?P<file>.*)", line \d+')
_OWN = f"{files('jobd')}/"

_MOST_LINES = 500
"""Of one thread; a recursion fills thousands."""


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    own: bool
    """It is in the application, and no library's."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One thread.

    Attributes:
        note: what it runs, in words; empty if it is no job's thread.
        jid: of that job; empty if there is none.
    """

    name: str
    note: str
    jid: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Dump:
    """One process: a line about it, its threads (those with jobs first), and the idle ones."""

    heading: str
    stacks: tuple[Stack, ...]
    waiting: str


def parse(text: str) -> Dump:
    """Take a dump of jobd's apart; whatever cannot be told apart stays together.

    >>> dump = parse("worker a:1:b: ...\\n\\nThread main (0x7f)\\n  File \\"/srv/a.py\\", line 1")
    >>> dump.heading, dump.stacks[0].name, dump.stacks[0].lines[0].own
    ('worker a:1:b: ...', 'main', True)
    """
    heading, waiting, stacks = "", "", []
    for number, part in enumerate(re.split(r"\n\n(?=Thread |Coroutine |Waiting )", text)):
        first, _, rest = part.strip("\n").partition("\n")
        head = _HEAD.match(first)
        if first.startswith("Waiting for work: "):
            waiting = first.partition(": ")[2]
        elif head is None and number == 0:
            heading = part.strip("\n")
        else:
            name = head["name"] if head else first
            note = (head["note"] or "") if head else ""
            job = _JOB.match(note)
            stacks.append(Stack(name, note, job["jid"] if job else "", _lines(rest)))
    stacks.sort(key=lambda stack: not stack.note)
    return Dump(heading, tuple(stacks), waiting)


def _lines(text: str) -> tuple[Line, ...]:
    lines, own = [], False
    for line in text.splitlines()[-_MOST_LINES:]:
        frame = _FRAME.match(line)
        if frame is not None:
            file = frame["file"]
            own = not is_library(file) and not file.startswith((_OWN, "<"))
        lines.append(Line(shortened(line, 1000), own))
    return tuple(lines)
