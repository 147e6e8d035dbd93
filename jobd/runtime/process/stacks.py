"""The stacks of all threads of this process as text.

Names of threads, files and functions may be anything: each is escaped to a single line, and long
ones are truncated. The sections of a dump start with a line that begins with a word, which cannot
be forged.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Collection, Iterable, Mapping
from types import FrameType, MappingProxyType
from typing import NamedTuple

from jobd.text.printable import cut, name_of, shown

_STARTERS = ("/jobd/runtime/child/birth.py", "/jobd/master/start.py")
_THREADING = "/threading.py"
_FRAMES = 100  # per thread; the innermost
_LONGEST = 500  # characters of a name or a line of code


class Section(NamedTuple):
    """A coroutine: its title, and its frames, the innermost last."""

    title: str
    frames: list[FrameType]


def dump(
    heading: str = "",
    notes: Mapping[int, str] = MappingProxyType({}),
    idle: Collection[int] = (),
    others: Iterable[Section] = (),
    only: Collection[int] | None = None,
) -> str:
    """The stacks of all threads, innermost call last.

    Args:
        heading: first line, if any.
        notes: text to add to a thread's line, by its ident (the job that it runs).
        idle: idents of threads that wait for work; only their names are listed.
        others: the coroutines.
        only: idents of the threads to include; None for all.
    """
    names = {thread.ident: shown(name_of(thread, _LONGEST)) for thread in threading.enumerate()}
    lines = [_line(heading)] if heading else []
    for ident, frame in sorted(sys._current_frames().items()):
        if ident in idle or (only is not None and ident not in only):
            continue
        note = f": {_line(notes[ident])}" if ident in notes else ""
        lines.append(f"\nThread {names.get(ident, '?')} ({ident:#x}){note}")
        lines += "".join(traceback.format_list(map(_plain, _own_part(frame)))).rstrip().split("\n")
    if idle:
        waiting = ", ".join(sorted(names.get(ident, "?") for ident in idle))
        lines.append(f"\nWaiting for work: {waiting}")
    for title, frames in others:
        lines.append(f"\nCoroutine {_line(title)}")
        entries = traceback.StackSummary.extract((one, one.f_lineno or 0) for one in frames)
        if entries:
            lines += "".join(traceback.format_list(map(_plain, entries))).rstrip().split("\n")
    return "\n".join(lines).lstrip("\n") + "\n"


def _own_part(frame: FrameType) -> list[traceback.FrameSummary]:
    """The stack without the frames that started the process and the thread."""
    stack = traceback.extract_stack(frame, _FRAMES)
    starters = [at for at, entry in enumerate(stack) if entry.filename.endswith(_STARTERS)]
    begin = starters[-1] + 1 if starters else 0
    while begin < len(stack) - 1 and stack[begin].filename.endswith(_THREADING):
        begin += 1
    return stack[begin:]


def _plain(entry: traceback.FrameSummary) -> traceback.FrameSummary:
    return traceback.FrameSummary(
        _line(entry.filename), entry.lineno, _line(entry.name), line=_line(entry.line or "")
    )


def _line(text: str) -> str:
    return shown(cut(text, _LONGEST))
